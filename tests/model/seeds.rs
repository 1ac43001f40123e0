//! Inputs for the fuzzers to begin with where the encoding of entries has changed. `make seeds` writes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use broker::clock::Clock;
use broker::log::{Entry, Position};
use broker::shard::Shard;
use broker::state::format::{Basis, Boot, Header, Item, decode, encode, encode_item};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::equal::{STREAMS, stream};
use crate::replicas::{SETTINGS, log, renumbered, steps};

const LOGS: usize = 80;
/// Longer ones are no better: libFuzzer joins them.
const MAX_ENTRIES: usize = 30;
/// A frame of a state file, without its payload.
const FRAME: usize = 8 + 4 + 4;

/// Names the folder to write them to; without it, they are only made.
const FOLDER: &str = "FUZZ_SEEDS";

#[test]
fn seeds_are_read_as_the_entries_they_are_made_of() {
    let mut runner = TestRunner::deterministic();
    let folder = env::var_os(FOLDER).map(PathBuf::from);
    let write = |target: &str, number: usize, input: Vec<u8>| {
        let Some(folder) = &folder else { return };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("seed-{number}")), input).unwrap();
    };
    for number in 0..LOGS {
        let log = log(&steps().new_tree(&mut runner).unwrap().current());
        let (before, after) = log.split_at(log.len() / 3);
        let logs = [log.clone(), [snapshot(before), after.to_vec()].concat()];
        for (which, mut log) in logs.into_iter().enumerate() {
            log.truncate(MAX_ENTRIES);
            let number = 10 * number + which;
            write("replicas", number, replicas(&log, number as u64));
            write("state", 2 * number, payloads(&log));
            let file = file(&log);
            let decoded = decode(&file[1..]).unwrap();
            assert!(decoded.fault.is_none());
            let entries = decoded.items.into_iter().filter_map(|item| match item {
                Item::Entry(entry) => Some(entry),
                _ => None,
            });
            assert!(entries.eq(log));
            write("state", 2 * number + 1, file);
        }
    }
}

/// What a shard holds that has applied these.
fn snapshot(log: &[Entry]) -> Vec<Entry> {
    let now = Clock::new().now();
    let mut shard = Shard::<()>::new(SETTINGS, now);
    for entry in log {
        let _void = shard.apply(entry.clone(), now);
    }
    shard.commit(|_| ()).snapshot(0, usize::MAX).0
}

/// A log whose positions are those that the target gives it.
fn replicas(log: &[Entry], seed: u64) -> Vec<u8> {
    let exact: HashMap<Position, usize> =
        log.iter().enumerate().rev().map(|(at, entry)| (entry.position, at)).collect();
    let moved = |position: Position| {
        if position == Position(0) {
            return position; // before all of them
        }
        let next = || log.iter().position(|entry| entry.position >= position);
        let at = exact.get(&position).copied().or_else(next).unwrap_or(log.len());
        Position(at as u64 + 1)
    };
    let mut input = postcard::to_stdvec(&seed).unwrap();
    for entry in log {
        let number = (0..STREAMS).position(|number| stream(number) == entry.stream).unwrap();
        let change = renumbered(entry.clone(), &moved).change;
        input.extend(postcard::to_stdvec(&(u8::try_from(number).unwrap(), change)).unwrap());
    }
    input
}

/// Frames of a state file, to which the target puts checksums.
fn payloads(log: &[Entry]) -> Vec<u8> {
    let mut input = vec![2];
    let mut add = |frame: &[u8]| {
        // longer ones it doesn't make
        if let Ok(length) = u8::try_from(frame.len() - FRAME) {
            input.extend([0, length]);
            input.extend(&frame[FRAME..]);
        }
    };
    for entries in log.chunks(2) {
        let mut frame = Vec::new();
        encode(entries, &mut frame);
        add(&frame);
    }
    for mark in marks(log) {
        let mut frame = Vec::new();
        encode_item(&mark, &mut frame);
        add(&frame);
    }
    input
}

/// A whole state file.
fn file(log: &[Entry]) -> Vec<u8> {
    let (boot, basis, log_id) = (Boot::from_bits(7), Basis::Runs, SETTINGS.log);
    let header = Header { boot, run: 3, shards: 2, shard: 1, generation: 4, basis, log: log_id };
    let mut input = [vec![0], header.encode()].concat();
    for entries in log.chunks(5) {
        encode(entries, &mut input);
    }
    for mark in marks(log) {
        encode_item(&mark, &mut input);
    }
    input
}

/// What may stand between a file's entries and at its end.
fn marks(log: &[Entry]) -> Vec<Item> {
    let next = Position(1 + log.last().map_or(0, |last| last.position.0));
    let all = [Item::WithoutHistory, Item::Complete { forgotten: 7, next }, Item::Closed];
    all.into_iter().skip(log.len() % 4).collect()
}
