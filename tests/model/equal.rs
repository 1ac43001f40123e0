//! Equality of replicas: all that apply a log hold the same streams and send the same messages, with any
//! number of shards, any seeds of hash tables, any slices, and from any snapshot.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{Change, Entry, LogId, Position, Void};
use broker::protocol::{action_cable, chat, phoenix};
use broker::shard::{
    FanOut, GroupKey, HistorySettings, Input, Output, ResumeSettings, Settings, Shard,
    SubscriberKey,
};
use broker::types::{
    Codec, Grant, MemberList, PresenceChange, RecordList, ServerMessage, SessionId, StreamCommand,
    StreamName, Subscribe, SubscribeOptions, Watch,
};

use super::shard_settings::without_history;

/// How many streams a log is about.
pub(crate) const STREAMS: usize = 3;

pub(crate) const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: Duration::from_secs(60), max_unacked: Duration::from_secs(10) },
    history: HistorySettings { limit: 4, ttl: Duration::from_secs(3600), max_bytes: usize::MAX },
    // so that each number is told at once, and no timer has to fire for it
    occupancy_interval: Duration::ZERO,
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

/// The subscribers of each stream: one of each kind, and one with another identifier.
const WATCHERS: [(Codec, Watch, &str); 5] = [
    (phoenix::CODEC, Watch::Members, "\"a\""),
    (action_cable::CODEC, Watch::Members, "\"a\""),
    (action_cable::CODEC, Watch::Members, "\"b\""),
    (action_cable::CODEC, Watch::Occupancy, "\"a\""),
    (chat::CODEC, Watch::Members, "\"b\""),
];

const SUBSCRIBERS: usize = STREAMS * WATCHERS.len();

/// A copy of all streams, with subscribers to each.
struct Replica {
    shards: Vec<Shard<usize>>,
    now: Instant,
    /// What each subscriber was told: those of the first stream, those of the next.
    told: [Vec<ServerMessage>; SUBSCRIBERS],
}

impl Replica {
    fn new(shards: usize, now: Instant, snapshot: &[Entry]) -> Self {
        let shards = (0..shards).map(|_| Shard::new(SETTINGS, now)).collect();
        let mut replica = Self { shards, now, told: Default::default() };
        for entry in snapshot {
            assert_eq!(replica.apply(entry), Ok(()), "{entry:?} of a snapshot");
        }
        for number in 0..STREAMS {
            for watcher in 0..WATCHERS.len() {
                replica.subscribe(number, watcher);
            }
        }
        replica.tell(usize::MAX, usize::MAX);
        replica.told = Default::default(); // that they are subscribed
        replica
    }

    fn subscribe(&mut self, number: usize, watcher: usize) {
        // their sessions are some of those that the log is about
        let session = SessionId::from_bits(watcher as u128);
        let (codec, watch, identifier) = WATCHERS[watcher];
        let group = GroupKey { codec, watch, identifier: identifier.into() };
        let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
        let input = Input::Command {
            key: SubscriberKey { session, group },
            recipient: number * WATCHERS.len() + watcher,
            command: StreamCommand::from(Subscribe { join: None, history: None, grant, options }),
            reference: None,
        };
        let now = self.now;
        self.shard(&stream(number)).handle(&stream(number), input, now);
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
                note(&mut self.told, delivery.recipient, &delivery.messages);
            }
            for _ in 0..slices {
                let Some(slice) = output.poll_fan_out(max, self.now) else { break };
                let FanOut { messages, recipients, .. } = slice;
                for (recipient, has) in recipients {
                    note(&mut self.told, recipient, &messages[has..]);
                }
            }
        }
    }

    /// Number of messages that each subscriber was told.
    fn lengths(&self) -> [usize; SUBSCRIBERS] {
        self.told.each_ref().map(Vec::len)
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
        let placed = |change: &Change| {
            matches!(change, Change::Record { .. } | Change::Noted { .. } | Change::Idle { .. })
        };
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

/// Notes what a subscriber was told. Left out is what codecs leave out: what its group doesn't get but may
/// come in a slice of other messages. And the list that goes with an event for chats: it is of the time of
/// sending.
fn note(told: &mut [Vec<ServerMessage>], recipient: usize, messages: &[ServerMessage]) {
    let (_, watch, _) = WATCHERS[recipient % WATCHERS.len()];
    let is_left_out = |message: &&ServerMessage| match watch {
        Watch::Members => matches!(message, ServerMessage::Occupancy(_)),
        Watch::Occupancy => {
            matches!(message, ServerMessage::Presence(_) | ServerMessage::Missed { .. })
        }
    };
    let noted = messages.iter().filter(|message| !is_left_out(message)).map(|message| {
        let ServerMessage::Presence(change) = message else { return message.clone() };
        let change = PresenceChange { members: None, ..(**change).clone() };
        ServerMessage::Presence(Arc::new(change))
    });
    told[recipient].extend(noted);
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
    let mut reference = Replica::new(1, now, &[]);
    let cuts: [usize; 2] = [dice.roll(log.len() + 1), dice.roll(log.len() + 1)];
    let mut snapshots = Vec::new();
    let (mut results, mut digests, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..=log.len() {
        for _ in cuts.iter().filter(|cut| **cut == at) {
            snapshots.push((at, reference.snapshot(1 + dice.roll(5))));
        }
        lengths.push(reference.lengths());
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
        let mut replica = Replica::new(shards, now, &snapshot);
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
        for (recipient, length) in lengths[start].iter().enumerate() {
            let expected = &reference.told[recipient][*length..];
            assert_eq!(
                replica.told[recipient], expected,
                "subscriber {recipient}, {shards} shards"
            );
        }
        let expected = if start == 0 { &held } else { &held_since };
        assert_eq!(replica.held(start == 0), *expected, "{shards} shards from entry {start}");
    }
    let applied = results.iter().filter(|result| result.is_ok()).count();
    let told = reference.lengths().iter().sum();
    Outcome { applied, void: results.len() - applied, told }
}
