//! What a partition that was restored from a snapshot knows, beyond the streams that digests compare.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::cluster::{Batch, Item, KnownRules, Partition, Refused, Rules, SnapshotItem};
use broker::log::{Change, Known, NodeId, Parking, Position, Subscription};
use broker::protocol::action_cable;
use broker::shard::{End, HistorySettings, Input, Outcome, Proposal, Settings, Ticket};
use broker::types::{
    Grant, HistoryRequest, JoinCause, Offset, ServerMessage, SessionId, StreamCommand, StreamName,
    Subscribe, SubscribeOptions, Watch,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::starts::save;
use crate::subscriber::key;
use crate::world::{self, INTERVAL, LEASE};

const UNIX: u64 = 1_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);

const SETTINGS: Settings = Settings {
    history: HistorySettings { ttl: HOUR, ..world::SETTINGS.history },
    ..world::SETTINGS
};

/// Two nodes whose batches these tests make up.
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
/// Those that apply them: the one that reads the log from the beginning, and its successor.
const READER: NodeId = NodeId(8);
const SUCCESSOR: NodeId = NodeId(9);

/// A client's session.
const CLIENT: u128 = 7;

const BEAT: Item = Item::Beat { interval: INTERVAL, knows: RULES };

const RULES: Rules = Rules(1);

fn stream() -> StreamName {
    "stream".into()
}

fn change(change: Change) -> Item {
    Item::Change(Proposal { request: 0, stream: stream(), change, continues: false })
}

fn publish(at: u64) -> Item {
    let (data, labels, except, author) = ("1".into(), None, None, None);
    change(Change::Published { data, labels, at, except, is_kept: true, author })
}

fn put(id: &str, until: u64) -> Item {
    let (info, extra, max_members) = ("1".into(), None, 2);
    change(Change::Put { id: id.into(), info, extra, until: Some(until), max_members })
}

/// A log, and where it ends.
struct Log {
    partition: Partition<usize>,
    end: u64,
    now: Instant,
    unix: u64,
}

impl Log {
    fn new() -> Self {
        let now = Clock::new().now();
        let mut partition = Partition::new(SETTINGS, READER, KnownRules::OWN, now);
        partition.shard_mut().set_unix(UNIX);
        Self { partition, end: 0, now, unix: UNIX }
    }

    /// The next batch, which is applied.
    fn batch(&mut self, node: NodeId, number: u64, items: Vec<Item>) -> Result<(), Refused> {
        let first = Position(self.end + 1);
        self.end += items.len() as u64;
        self.partition.apply(
            first,
            self.unix,
            Batch { rules: RULES, node, incarnation: 1, number, items },
            self.now,
        )
    }

    /// The node appends what it has to, and applies it.
    fn append(&mut self) {
        let Batch { node, number, items, .. } = self.partition.poll_append().unwrap().clone();
        self.batch(node, number, items).unwrap();
    }

    /// The same with a partition that a snapshot of this one was restored in.
    fn successor(&mut self) -> Self {
        let mut partition = Partition::new(SETTINGS, SUCCESSOR, KnownRules::OWN, self.now);
        save(&mut self.partition, (0, 1), |_| ()).restore(&mut partition, self.unix, self.now);
        Self { partition, ..*self }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.unix += u64::try_from(time.as_millis()).unwrap();
        self.partition.shard_mut().set_unix(self.unix);
        self.partition.shard_mut().handle_timeout(self.now);
    }

    fn handle(&mut self, input: Input<usize>) {
        self.partition.shard_mut().handle(&stream(), input, self.now);
    }

    fn replies(&mut self) -> Vec<ServerMessage> {
        let mut output = self.partition.shard_mut().commit(|_| ());
        let replies = std::iter::from_fn(|| output.poll_reply());
        replies.flat_map(|reply| reply.messages).collect()
    }

    /// Whether a client that subscribes gets all publications since a second.
    fn has_all_since(&mut self, second: u64) -> bool {
        let history = Some(HistoryRequest { since: Some(second), positions: vec![], joint: None });
        let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
        let command = StreamCommand::from(Subscribe { join: None, history, grant, options });
        let (key, recipient, reference) = (key(CLIENT), 0, None);
        self.handle(Input::Command { key, recipient, command, reference });
        let told = self.replies();
        assert_ne!(
            told.contains(&ServerMessage::HistoryConfirmed),
            told.contains(&ServerMessage::HistoryRejected)
        );
        told.contains(&ServerMessage::HistoryConfirmed)
    }

    /// Resumes a session; returns what its client missed, if that is possible.
    fn resume(&mut self, session: SessionId) -> Option<Vec<ServerMessage>> {
        let (from, to) = (key(session.to_bits()), SUCCESSOR.session(2));
        self.handle(Input::Resume { from, to, recipient: 0, ticket: Ticket(0) });
        self.append();
        let outcome = self.partition.shard_mut().commit(|_| ()).poll_outcome();
        (outcome == Some((Ticket(0), Outcome::Resumed(true)))).then(|| self.replies())
    }
}

#[test]
fn what_was_skipped_before_a_snapshot_does_not_count_behind_it() {
    let mut log = Log::new();
    log.batch(ONE, 1, vec![BEAT]).unwrap();
    let late = vec![publish(7)];
    assert_eq!(log.batch(ONE, 3, late.clone()), Err(Refused::Missing { expected: 2 }));
    log.batch(ONE, 2, vec![BEAT]).unwrap();
    let mut next = log.successor();
    assert_eq!(next.partition.position(), Position(3));
    let digest = next.partition.shard().digest();
    let batch = Batch { rules: RULES, node: ONE, incarnation: 1, number: 3, items: late.clone() };
    let again = next.partition.apply(Position(2), UNIX, batch, next.now);
    assert_eq!((again, next.partition.shard().digest()), (Err(Refused::Again), digest));
    assert_eq!(next.batch(ONE, 3, late), Ok(()), "and what follows does");
}

#[test]
fn nothing_of_a_node_counts_that_was_gone_before_a_snapshot() {
    let mut log = Log::new();
    log.batch(ONE, 1, vec![BEAT]).unwrap();
    log.batch(TWO, 1, vec![Item::Gone { node: ONE, incarnation: 1, ttl: HOUR }]).unwrap();
    let mut next = log.successor();
    assert_eq!(next.batch(ONE, 2, vec![publish(7)]), Err(Refused::Gone));
}

/// Those that found it may all die before it is in every log.
#[test]
fn a_successor_knows_which_nodes_are_to_be_excluded() {
    let mut log = Log::new();
    log.batch(TWO, 1, vec![BEAT]).unwrap();
    for number in 1..=4 {
        log.pass(INTERVAL);
        log.batch(ONE, number, vec![BEAT]).unwrap();
    }
    let accused = log.partition.members().overdue(LEASE).next().unwrap();
    let overdue = Item::Overdue { node: accused.node, beat: accused.beat, lease: LEASE };
    log.batch(ONE, 5, vec![overdue.clone()]).unwrap();
    assert_eq!(log.partition.take_departed(), [(TWO, 1)]);
    let mut next = log.successor();
    assert_eq!(next.partition.take_departed(), [(TWO, 1)]);
    next.batch(ONE, 6, vec![Item::Gone { node: TWO, incarnation: 1, ttl: HOUR }]).unwrap();
    let mut last = next.successor();
    assert_eq!(last.partition.take_departed(), [(TWO, 1)], "other logs may not have it");
    assert_eq!(last.partition.take_departed(), []);
}

#[test]
fn the_clock_of_a_log_goes_on_behind_a_snapshot() {
    let mut log = Log::new();
    log.batch(TWO, 1, vec![BEAT]).unwrap();
    log.batch(ONE, 1, vec![BEAT]).unwrap();
    log.pass(INTERVAL);
    let mut next = log.successor();
    for number in 2..=5 {
        next.batch(ONE, number, vec![BEAT]).unwrap();
        next.pass(INTERVAL);
    }
    assert_eq!(next.partition.members().overdue(LEASE).count(), 1, "as one beat is from before");
}

#[test]
fn publications_that_were_lost_before_a_snapshot_are_missed_behind_it() {
    let mut log = Log::new();
    log.batch(ONE, 1, vec![publish(5000)]).unwrap();
    let (epoch, head) = (SETTINGS.log.epoch_at(Position(1), UNIX), Offset(1));
    let forgotten = change(Change::Forgotten { epoch, head, lost: 5000 });
    log.batch(ONE, 2, vec![forgotten]).unwrap();
    assert_eq!(log.partition.shard().digest(), 0, "the stream is gone");
    let mut next = log.successor();
    for log in [&mut log, &mut next] {
        assert!(!log.has_all_since(5));
    }
    assert!(next.has_all_since(6));
}

/// A node that is behind parks a client that it told of what is before a position, such as 1: nothing, or 2: that it has
/// joined. A time has passed since then. What the client misses, if it is resumed, by the node that read the log and by
/// its successor.
fn missed(told_before: u64, passed: Duration) -> [Option<Vec<ServerMessage>>; 2] {
    let mut log = Log::new();
    let by = Subscription { session: ONE.session(1), identifier: "\"a\"".into() };
    let (info, extra, cause) = ("1".into(), None, JoinCause::Joined);
    let (id, is_update, max_members) = ("ann".into(), false, 2);
    let joined = Change::Joined { by: by.clone(), id, info, extra, cause, is_update, max_members };
    log.batch(ONE, 1, vec![change(joined)]).unwrap();
    log.pass(passed);
    let (confirmed_before, sent_before) = (Position(told_before), Position(told_before));
    let known = Known { confirmed_before, sent_before };
    let (codec, watch, ttl) = (action_cable::CODEC, Watch::Members, HOUR);
    let parking = Some(Box::new(Parking { codec, watch, known, ttl }));
    log.batch(ONE, 2, vec![change(Change::Ended { by: by.clone(), ttl, parking })]).unwrap();
    let mut next = log.successor();
    [&mut log, &mut next].map(|log| log.resume(by.session))
}

#[test]
fn who_is_resumed_is_told_of_what_was_before_a_snapshot_or_refused() {
    let [told, told_by_successor] = missed(1, Duration::ZERO);
    assert_eq!(told, told_by_successor);
    assert!(matches!(&told.unwrap()[..], [ServerMessage::Missed { .. }]));
    let forgotten = SETTINGS.resume.ttl + 2 * SETTINGS.resume.max_unacked;
    assert_eq!(missed(1, forgotten), [None, None]);
    assert_eq!(missed(2, forgotten), [Some(vec![]), Some(vec![])]);
}

#[test]
fn who_came_to_a_successor_is_resumed() {
    let mut log = Log::new();
    log.batch(ONE, 1, vec![put("ann", u64::MAX)]).unwrap();
    log.pass(HOUR);
    let mut next = log.successor();
    next.has_all_since(0);
    next.pass(Duration::from_secs(1));
    let end = End { unacked_since: Some(next.now), grant: Some(Grant::OPEN), ..End::at(next.now) };
    next.handle(Input::Ended { key: key(CLIENT), end });
    next.append();
    assert_eq!(next.resume(SessionId::from_bits(CLIENT)), Some(vec![]));
}

#[test]
fn what_has_an_hour_does_not_have_it_anew() {
    let hour = u64::try_from(HOUR.as_millis()).unwrap();
    for (item, left) in [(put("ann", UNIX + hour), 1), (publish(UNIX), 0)] {
        let mut log = Log::new();
        log.batch(ONE, 1, vec![item]).unwrap();
        let mut partition = Partition::new(SETTINGS, SUCCESSOR, KnownRules::OWN, log.now);
        let snapshot = save(&mut log.partition, (0, 1), |_| ());
        snapshot.restore(&mut partition, UNIX + hour - 5000, log.now);
        let due = log.now + Duration::from_secs(5 + left);
        assert_eq!(partition.shard().poll_timeout(), Some(due), "{left}");
    }
}

/// Heads of snapshots, or what may be taken for one.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![24 => 0..2_u8, 2 => 2..8_u8, 1 => any::<u8>()];
    let head = prop::collection::vec(byte, 8..24);
    prop::collection::vec(head.prop_map(|bytes| [&[1], &bytes[..]].concat()), 1..4)
        .prop_map(|heads| heads.concat())
}

/// Restores whatever it is; returns how many parts there were.
fn restore_any(mut bytes: &[u8]) -> usize {
    let (mut log, mut parts) = (Log::new(), 0);
    while let Ok((item, rest)) = postcard::take_from_bytes::<SnapshotItem>(bytes) {
        bytes = rest;
        parts += 1;
        log.partition.restore(item, UNIX, log.now);
    }
    log.end = log.partition.position().0.min(u64::MAX - 100);
    for number in 1..4 {
        log.pass(INTERVAL);
        for node in [NodeId(0), ONE, TWO, READER] {
            log.batch(node, number, vec![BEAT, publish(7)]).ok();
            let members = log.partition.members().clone();
            for overdue in members.overdue(LEASE) {
                let ended = Item::Gone { node: overdue.node, incarnation: 1, ttl: HOUR };
                log.batch(node, number + 1, vec![ended, BEAT]).ok();
            }
        }
    }
    log.successor();
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_snapshot_can_be_restored(bytes in heads()) {
        restore_any(&bytes);
    }
}

/// Else the property above would say little.
#[test]
fn some_snapshots_are_read() {
    let mut runner = TestRunner::deterministic();
    let read = (0..200).map(|_| restore_any(&heads().new_tree(&mut runner).unwrap().current()));
    assert!(read.sum::<usize>() > 50);
}
