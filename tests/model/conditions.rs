//! Entries that were proposed before something else came: they are void, or don't undo what that has led to.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{
    Change, Entry, Known, LogId, NodeId, Origin, Parking, Position, Subscription, Void,
};
use broker::protocol::action_cable;
use broker::shard::{HistorySettings, Input, ResumeSettings, Settings, Shard};
use broker::types::{
    Grant, HistoryRequest, JoinCause, Offset, ServerMessage, SessionId, StreamCommand, StreamName,
    Subscribe, SubscribeOptions, Watch, Whisper,
};

use crate::shard_settings::without_history;
use crate::subscriber::key;

const MINUTE: Duration = Duration::from_secs(60);

const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: MINUTE, max_unacked: MINUTE },
    history: HistorySettings { limit: 9, ttl: MINUTE, max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(Duration::from_secs(180))
};

/// What others have set, who end and park subscriptions.
const TTL: Duration = Duration::from_secs(1);

/// A shard that applies a log of others.
struct Follower {
    shard: Shard<u32>,
    next: Position,
    now: Instant,
}

impl Follower {
    fn new() -> Self {
        let now = Clock::new().now();
        Self { shard: Shard::new(SETTINGS, now), next: Position(1), now }
    }

    /// Applies a change in the next position.
    fn apply(&mut self, change: Change) -> Result<(), Void> {
        let (position, origin) = (self.next, Origin::default());
        self.next = position.next();
        let entry = Entry { position, at: 1_000_000, origin, stream: stream(), change };
        self.shard.apply(entry, self.now)
    }

    fn pass_to(&mut self, time: Instant) {
        self.now = time;
        while self.shard.poll_timeout().is_some_and(|due| due <= self.now) {
            self.shard.handle_timeout(self.now);
        }
    }

    /// Whether all publications since a time are there, in seconds of the Unix epoch.
    fn has_all_since(&mut self, since: u64) -> bool {
        let history =
            Some(HistoryRequest { since: Some(since), positions: Vec::new(), joint: None });
        let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
        let command = StreamCommand::from(Subscribe { join: None, history, grant, options });
        let (key, recipient, reference) = (key(99_u8), 0, None);
        let input = Input::Command { key, recipient, command, reference };
        self.shard.handle(&stream(), input, self.now);
        let mut output = self.shard.commit(|_| ());
        let told = std::iter::from_fn(|| output.poll_reply()).flat_map(|reply| reply.messages);
        told.collect::<Vec<_>>().contains(&ServerMessage::HistoryConfirmed)
    }
}

fn stream() -> StreamName {
    "room".into()
}

/// A publication at a time, in seconds of the Unix epoch.
fn published(at: u64) -> Change {
    let (data, labels, except, author) = ("1".into(), None, None, None);
    Change::Published { data, labels, at: 1000 * at, except, is_kept: true, author }
}

fn forgotten(began: Position, head: u64, lost: u64) -> Change {
    Change::Forgotten { epoch: SETTINGS.log.epoch(began), head: Offset(head), lost: 1000 * lost }
}

fn put(ttl: u64) -> Change {
    let (info, extra, until) = ("1".into(), None, Some(1_000_000 + ttl));
    Change::Put { id: "ann".into(), info, extra, until, max_members: 9 }
}

#[test]
fn a_stream_with_a_new_publication_is_not_forgotten() {
    let mut follower = Follower::new();
    let begins = follower.next;
    follower.apply(Change::Began { lost: 0 }).unwrap();
    follower.apply(published(50)).unwrap();
    // meant after the first publication had expired; the second came in between
    follower.apply(published(60)).unwrap();
    assert_eq!(follower.apply(forgotten(begins, 1, 50)), Err(Void::Stale));
    assert_eq!(follower.shard.totals().publications, 2);
    assert!(follower.has_all_since(10));
}

#[test]
fn a_stream_that_began_anew_is_not_forgotten() {
    let mut follower = Follower::new();
    let begins = follower.next;
    follower.apply(Change::Began { lost: 0 }).unwrap();
    follower.apply(published(50)).unwrap();
    follower.apply(forgotten(begins, 1, 50)).unwrap();
    follower.apply(Change::Began { lost: 50_000 }).unwrap();
    follower.apply(published(60)).unwrap();
    assert_eq!(follower.apply(forgotten(begins, 1, 50)), Err(Void::Stale));
    assert_eq!(follower.shard.totals().publications, 1);
    assert!(follower.has_all_since(55));
}

#[test]
fn a_gap_that_the_proposer_did_not_know_of_is_not_forgotten() {
    let mut follower = Follower::new();
    let begins = follower.next;
    follower.apply(Change::Began { lost: 0 }).unwrap();
    follower.apply(published(50)).unwrap();
    assert!(follower.has_all_since(40));
    follower.apply(forgotten(begins, 1, 50)).unwrap();
    // meant before all that
    follower.apply(Change::Began { lost: 30_000 }).unwrap();
    assert!(!follower.has_all_since(40));
    assert!(follower.has_all_since(51));
}

#[test]
fn a_void_end_leaves_the_timers_alone() {
    let mut follower = Follower::new();
    let begins = follower.next;
    follower.apply(Change::Began { lost: 0 }).unwrap();
    follower.apply(put(300)).unwrap();
    assert_eq!(follower.apply(forgotten(begins, 0, 0)), Err(Void::Stale));
    follower.pass_to(follower.now + Duration::from_millis(301));
    assert_eq!(follower.shard.totals().records, 0);
}

fn idle(began: Position, head: u64) -> Change {
    Change::Idle { epoch: SETTINGS.log.epoch(began), head: Offset(head) }
}

#[test]
fn a_stream_is_forgotten_by_all_if_nothing_has_changed_since_it_was_idle() {
    let kicked = || Change::Kicked { id: "ann".into() };
    let whisper = Whisper { event: None, data: "1".into() };
    let whispered = Change::Whispered { whisper, from: SessionId::from_bits(1), author: None };
    for (meanwhile, is_forgotten) in [
        (vec![], true),
        (vec![kicked(), Change::Arrived, whispered], true),
        (vec![put(300), kicked()], false),
        (vec![published(50)], false),
        (vec![Change::Used { by: Some(NodeId(1)) }], false),
        (vec![Change::Used { by: None }], false),
        (vec![Change::Used { by: None }, idle(Position(1), 0)], false),
    ] {
        let mut follower = Follower::new();
        follower.apply(Change::Began { lost: 0 }).unwrap();
        let position = follower.next;
        follower.apply(idle(Position(1), 0)).unwrap();
        for change in &meanwhile {
            follower.apply(change.clone()).ok();
        }
        let forgotten = Change::ForgottenByAll { idle: position, lost: 0 };
        let expected = is_forgotten.then_some(()).ok_or(Void::Stale);
        assert_eq!(follower.apply(forgotten), expected, "after {meanwhile:?}");
        assert_eq!(follower.shard.totals().streams, usize::from(!is_forgotten));
    }
}

#[test]
fn a_stream_with_state_is_not_idle_nor_one_of_which_that_is_known() {
    let mut follower = Follower::new();
    assert_eq!(follower.apply(idle(Position(1), 0)), Err(Void::Stale));
    assert_eq!(follower.apply(Change::Used { by: Some(NodeId(1)) }), Err(Void::Stale));
    assert_eq!(follower.apply(Change::Forked), Err(Void::Stale));
    let begins = follower.next;
    follower.apply(Change::Began { lost: 0 }).unwrap();
    follower.apply(published(50)).unwrap();
    assert_eq!(follower.apply(idle(begins, 0)), Err(Void::Stale));
    assert_eq!(follower.apply(idle(begins.next(), 1)), Err(Void::Stale));
    follower.apply(put(300)).unwrap();
    assert_eq!(follower.apply(idle(begins, 1)), Err(Void::Stale));
    follower.apply(Change::Kicked { id: "ann".into() }).unwrap();
    follower.apply(idle(begins, 1)).unwrap();
    assert_eq!(follower.apply(idle(begins, 1)), Err(Void::Stale));
}

fn ann() -> Subscription {
    Subscription { session: SessionId::from_bits(1), identifier: "\"a\"".into() }
}

fn ended(by: Subscription) -> Change {
    let known = Known { confirmed_before: Position(0), sent_before: Position(0) };
    let (codec, watch) = (action_cable::CODEC, Watch::Members);
    let parking = Some(Box::new(Parking { codec, watch, known, ttl: TTL }));
    Change::Ended { by, ttl: 3 * TTL, parking }
}

#[test]
fn a_subscription_that_was_parked_again_does_not_lapse() {
    let mut follower = Follower::new();
    follower.apply(Change::Began { lost: 0 }).unwrap();
    let [first, second, third] = [0, 1, 2].map(|after| Position(follower.next.0 + after));
    follower.apply(ended(ann())).unwrap();
    follower.apply(Change::Restarted { ttl: TTL, resumable: Some(TTL) }).unwrap();
    // meant after the time of the first had passed
    let lapsed = |parked| Change::Lapsed { by: ann(), parked };
    assert_eq!(follower.apply(lapsed(first)), Err(Void::Stale));
    assert_eq!(follower.apply(lapsed(third)), Err(Void::Stale));
    assert_eq!(follower.shard.totals().parked, 1);
    follower.apply(lapsed(second)).unwrap();
    assert_eq!(follower.shard.totals().parked, 0);
}

/// The follower's own settings say a minute.
#[test]
fn times_are_those_of_the_entries() {
    let joined = Change::Joined {
        by: ann(),
        id: "ann".into(),
        info: "1".into(),
        extra: None,
        cause: JoinCause::Joined,
        is_update: false,
        max_members: 9,
    };
    let begin = |follower: &mut Follower| {
        follower.apply(Change::Began { lost: 0 }).unwrap();
        follower.apply(joined.clone()).unwrap();
        follower.apply(ended(ann())).unwrap();
    };
    // both in TTLs
    let check = |mut follower: Follower, records: u32, parked: u32| {
        let (start, half) = (follower.now, TTL / 2);
        let totals = |follower: &Follower| {
            let totals = follower.shard.totals();
            (totals.records, totals.parked)
        };
        assert_eq!(totals(&follower), (1, 1));
        follower.pass_to(start + half * (2 * parked - 1));
        assert_eq!(totals(&follower), (1, 1));
        follower.pass_to(start + half * (2 * parked + 1));
        assert_eq!(totals(&follower), (1, 0));
        follower.pass_to(start + half * (2 * records - 1));
        assert_eq!(totals(&follower), (1, 0));
        follower.pass_to(start + half * (2 * records + 1));
        assert_eq!(totals(&follower), (0, 0));
    };
    let mut follower = Follower::new();
    begin(&mut follower);
    check(follower, 3, 1);

    let mut follower = Follower::new();
    begin(&mut follower);
    follower.apply(Change::Restarted { ttl: 9 * TTL, resumable: Some(5 * TTL) }).unwrap();
    check(follower, 9, 5);

    // those of a snapshot are its maker's
    let mut maker = Follower::new();
    begin(&mut maker);
    let (entries, _) = maker.shard.commit(|_| ()).snapshot(0, usize::MAX);
    let settings = Settings {
        resume: ResumeSettings { ttl: TTL, ..SETTINGS.resume },
        presence_ttl: TTL,
        ..SETTINGS
    };
    let now = maker.now;
    let mut follower = Follower { shard: Shard::new(settings, now), next: Position(9), now };
    for entry in entries {
        follower.shard.apply(entry, now).unwrap();
    }
    check(follower, 180, 60);
}

#[test]
fn messages_leave_no_stream_behind() {
    let mut follower = Follower::new();
    let from = SessionId::from_bits(1);
    let (data, labels, except, author) = ("1".into(), None, None, None);
    let message = Change::Published { data, labels, at: 1, except, is_kept: false, author };
    let whisper = Whisper { event: None, data: "1".into() };
    for change in [message, Change::Whispered { whisper, from, author: None }, Change::Arrived] {
        follower.apply(change.clone()).unwrap();
        assert_eq!(follower.shard.totals().streams, 0, "after {change:?}");
    }
}
