//! Any log, applied by several replicas: they stay equal, and none of them panics.
//!
//! An input is a number, which determines the slices and snapshots, and the log's changes, each with the number
//! of its stream before it.

use broker::log::{Change, Entry, Origin, Position};

use super::equal::{Outcome, check, stream};

/// More takes long, and finds nothing that less doesn't.
const MAX_ENTRIES: u64 = 200;

pub fn run(data: &[u8]) {
    let Some((seed, log)) = read(data) else { return };
    let Outcome { applied, void, told } = check(&log, seed);
    assert_eq!(applied + void, log.len());
    assert!(told == 0 || applied > 0, "nothing happened, and {told} messages tell of it");
}

/// The number and the log of an input.
pub fn read(data: &[u8]) -> Option<(u64, Vec<Entry>)> {
    let (seed, mut rest) = postcard::take_from_bytes::<u64>(data).ok()?;
    let mut log = Vec::new();
    for position in 1..=MAX_ENTRIES {
        let Ok(((number, change), left)) = postcard::take_from_bytes::<(u8, Change)>(rest) else {
            break;
        };
        rest = left;
        log.push(Entry {
            position: Position(position),
            at: 1_000_000,
            origin: Origin::default(),
            stream: stream(number.into()),
            change,
        });
    }
    Some((seed, log))
}
