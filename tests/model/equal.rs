//! Equality of replicas: all that apply a log hold the same streams and send the same messages, with any
//! number of shards, any seeds of hash tables, any slices, and from any snapshot.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{Change, Entry, LogId, Position, Void};
use broker::protocol::{action_cable, phoenix};
use broker::shard::{
    FanOut, GroupKey, HistorySettings, Input, Output, ResumeSettings, Settings, Shard,
    SubscriberKey,
};
use broker::types::{
    Grant, MemberList, RecordList, ServerMessage, SessionId, StreamCommand, StreamName,
    SubscribeOptions,
};

use super::shard_settings::without_history;

/// How many streams a log is about.
pub(crate) const STREAMS: usize = 3;

const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: Duration::from_secs(60), max_unacked: Duration::from_secs(10) },
    history: HistorySettings { limit: 4, ttl: Duration::from_secs(3600), max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(Duration::from_secs(15))
};

/// The name of a stream by its number.
pub(crate) fn stream(number: usize) -> StreamName {
    format!("stream-{}", number % STREAMS).into()
}

/// What shards that have applied the same log have in common.
#[derive(Debug, PartialEq)]
struct Held {
    digest: u64,
    members: Vec<MemberList>,
    records: Vec<Arc<RecordList>>,
    snapshot: Vec<(StreamName, Option<Position>, Change)>,
}

/// A copy of all streams, with a subscriber to each.
struct Replica {
    shards: Vec<Shard<usize>>,
    now: Instant,
    /// What each subscriber was told.
    told: [Vec<ServerMessage>; STREAMS],
}

impl Replica {
    fn new(shards: usize, now: Instant) -> Self {
        let shards = (0..shards).map(|_| Shard::new(SETTINGS, now)).collect();
        let mut replica = Self { shards, now, told: Default::default() };
        for number in 0..STREAMS {
            // their sessions are some of those that the log is about
            let session = SessionId::from_bits(number as u128);
            let codec = if number == 0 { phoenix::CODEC } else { action_cable::CODEC };
            let key = SubscriberKey { session, group: GroupKey::new(codec, "\"a\"".into()) };
            let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
            let command = StreamCommand::Subscribe { join: None, history: None, grant, options };
            let input = Input::Command { key, recipient: number, command, reference: None };
            replica.shard(&stream(number)).handle(&stream(number), input, now);
        }
        replica.tell(usize::MAX, usize::MAX);
        replica.told = Default::default(); // that they are subscribed
        replica
    }

    fn shard(&mut self, name: &StreamName) -> &mut Shard<usize> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
        let count = self.shards.len() as u64;
        &mut self.shards[usize::try_from(hash % count).unwrap()]
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Void> {
        let now = self.now;
        self.shard(&entry.stream).apply(entry.clone(), now)
    }

    fn digest(&self) -> u64 {
        self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.digest()))
    }

    /// Tells subscribers what is due: at most so many slices of so many of them.
    fn tell(&mut self, slices: usize, max: usize) {
        for shard in &mut self.shards {
            let mut output = shard.commit(|_| ());
            while let Some(delivery) = output.poll_reply() {
                self.told[delivery.recipient].extend(delivery.messages);
            }
            for _ in 0..slices {
                let Some(slice) = output.poll_fan_out(max, self.now) else { break };
                let FanOut { messages, recipients, .. } = slice;
                for (recipient, has) in recipients {
                    self.told[recipient].extend_from_slice(&messages[has..]);
                }
            }
        }
    }

    /// The streams as they are, in slices of at least so many entries.
    fn snapshot(&mut self, max: usize) -> Vec<Entry> {
        let mut all = Vec::new();
        for shard in &mut self.shards {
            let (output, mut place) = (shard.commit(|_| ()), Some(0));
            while let Some(at) = place {
                let (entries, next) = output.snapshot(at, max);
                all.extend(entries);
                place = next;
            }
        }
        all
    }

    /// What it holds. What was lost before a snapshot that doesn't have the stream is unknown to who begins
    /// with the snapshot.
    fn held(&mut self, knows_lost: bool) -> Held {
        let placed =
            |change: &Change| matches!(change, Change::Record { .. } | Change::Noted { .. });
        let entries = self.snapshot(1).into_iter();
        let mut snapshot: Vec<_> = entries
            .map(|Entry { position, stream, mut change, .. }| {
                if let Change::Snapshot { lost, .. } = &mut change {
                    *lost *= u64::from(knows_lost);
                }
                (stream, Some(position).filter(|_| placed(&change)), change)
            })
            .collect();
        snapshot.sort_by_key(|(stream, ..)| stream.clone()); // of several shards
        let (mut members, mut records) = (Vec::new(), Vec::new());
        for number in 0..STREAMS {
            let output: Output<'_, usize> = self.shard(&stream(number)).commit(|_| ());
            members.push(output.members(&stream(number)).to_vec());
            records.push(output.records(&stream(number)));
        }
        Held { digest: self.digest(), members, records, snapshot }
    }
}

/// Small numbers out of one.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap()
    }
}

/// What became of a log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// How many entries changed something, or said something.
    pub applied: usize,
    /// How many were void.
    pub void: usize,
    /// How many messages the subscribers of one replica were told.
    pub told: usize,
}

/// Applies a log to replicas of several kinds, chosen by `seed`, and compares them all the way.
pub(crate) fn check(log: &[Entry], seed: u64) -> Outcome {
    let now = Clock::new().now();
    let mut dice = Dice::new(seed);
    let mut reference = Replica::new(1, now);
    let cuts: [usize; 2] = [dice.roll(log.len() + 1), dice.roll(log.len() + 1)];
    let mut snapshots = Vec::new();
    let (mut results, mut digests, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..=log.len() {
        for _ in cuts.iter().filter(|cut| **cut == at) {
            snapshots.push((at, reference.snapshot(1 + dice.roll(5))));
        }
        lengths.push(reference.told.each_ref().map(Vec::len));
        if let Some(entry) = log.get(at) {
            results.push(reference.apply(entry));
            digests.push(reference.digest());
            reference.tell(usize::MAX, usize::MAX);
        }
    }
    let [held, held_since] = [true, false].map(|knows_lost| reference.held(knows_lost));
    let from_start = [1, 2, 3, 4].map(|shards| (shards, 0, Vec::new()));
    let from_snapshots = snapshots.into_iter().map(|(at, entries)| (1 + at % 3, at, entries));
    for (shards, start, snapshot) in from_start.into_iter().chain(from_snapshots) {
        let mut replica = Replica::new(shards, now);
        for entry in &snapshot {
            assert_eq!(replica.apply(entry), Ok(()), "{entry:?} of a snapshot");
        }
        if start > 0 {
            assert_eq!(replica.digest(), digests[start - 1], "after a snapshot: {snapshot:#?}");
        }
        let slices = 1 + dice.roll(3);
        for (at, entry) in log.iter().enumerate().skip(start) {
            assert_eq!(replica.apply(entry), results[at], "{entry:?} in {shards} shards");
            assert_eq!(replica.digest(), digests[at], "after {entry:?} in {shards} shards");
            if dice.roll(4) == 0 {
                replica.tell(slices, 1);
            }
        }
        replica.tell(usize::MAX, 1);
        for (number, length) in lengths[start].iter().enumerate() {
            let expected = &reference.told[number][*length..];
            assert_eq!(replica.told[number], expected, "stream {number}, {shards} shards");
        }
        let expected = if start == 0 { &held } else { &held_since };
        assert_eq!(replica.held(start == 0), *expected, "{shards} shards from entry {start}");
    }
    let applied = results.iter().filter(|result| result.is_ok()).count();
    let told = reference.told.iter().map(Vec::len).sum();
    Outcome { applied, void: results.len() - applied, told }
}
