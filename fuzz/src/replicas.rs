//! Any log, applied by several replicas: they stay equal, and none of them panics. And the same as a snapshot, from which
//! a partition is restored, and another one from what that one holds.
//!
//! An input is a number, which determines the slices and snapshots, and the log's changes, each with the number
//! of its stream before it.

use std::time::Instant;

use broker::clock::Clock;
use broker::cluster::{KnownRules, Partition, SnapshotItem};
use broker::log::{Change, Entry, NodeId, Origin, Position};

use super::equal::{Outcome, SETTINGS, check, stream};

const UNIX: u64 = 1_000_000;

/// More takes long, and finds nothing that less doesn't.
const MAX_ENTRIES: u64 = 200;

pub fn run(data: &[u8]) {
    let Some((seed, log)) = read(data) else { return };
    let Outcome { applied, void, told } = check(&log, seed);
    assert_eq!(applied + void, log.len());
    assert!(told == 0 || applied > 0, "nothing happened, and {told} messages tell of it");
    check_restored(log);
}

fn check_restored(log: Vec<Entry>) {
    let now = Clock::new().now();
    let mut first = restored(log.into_iter().map(SnapshotItem::Entry), now);
    let (snapshot, end) = first.snapshot(0, usize::MAX);
    assert_eq!(end, None);
    let mut second = restored(snapshot, now);
    for partition in [&mut first, &mut second] {
        let shard = partition.shard_mut();
        while let Some(due) = shard.poll_timeout().filter(|due| *due <= now + SETTINGS.history.ttl)
        {
            shard.handle_timeout(due);
        }
    }
    assert_eq!(first.shard().digest(), second.shard().digest());
    assert_eq!(first.shard().totals(), second.shard().totals());
}

/// A partition that has such a snapshot.
fn restored(snapshot: impl IntoIterator<Item = SnapshotItem>, now: Instant) -> Partition<()> {
    let mut partition = Partition::new(SETTINGS, NodeId(1), KnownRules::OWN, now);
    for item in snapshot {
        partition.restore(item, UNIX, now);
    }
    partition
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
            at: UNIX,
            origin: Origin::default(),
            stream: stream(number.into()),
            change,
        });
    }
    Some((seed, log))
}
