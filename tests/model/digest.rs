//! The digest of a shard's state: whatever replicas agree on changes it.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::clock::Clock;
use broker::log::{
    Change, Entry, Known, LogId, NodeId, Origin, Owner, Parked, Parking, Position, Subscription,
};
use broker::protocol::{action_cable, chat};
use broker::shard::{ResumeSettings, Settings, Shard};
use broker::types::{Codec, Epoch, Grant, Identity, Offset, Rights, SessionId, Watch};

use crate::shard_settings::without_history;

const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: Duration::from_secs(60), max_unacked: Duration::from_secs(10) },
    log: LogId(11),
    ..without_history(Duration::from_secs(15))
};

const TTL: Duration = Duration::from_secs(15);

const KNOWN: Known = Known { confirmed_before: Position(3), sent_before: Position(4) };

const PARKED: Parked = Parked { at: Position(5), known: KNOWN };

fn by(session: u128, identifier: &str) -> Subscription {
    Subscription { session: SessionId::from_bits(session), identifier: identifier.into() }
}

/// A shard that has applied the changes, each to a stream.
fn shard(changes: impl IntoIterator<Item = (&'static str, Change)>) -> Shard<()> {
    let now = Clock::new().now();
    let mut shard = Shard::new(SETTINGS, now);
    for (position, (stream, change)) in (1..).map(Position).zip(changes) {
        let (at, origin) = (1_000_000, Origin::default());
        let entry = Entry { position, at, origin, stream: stream.into(), change };
        shard.apply(entry, now).unwrap();
    }
    shard
}

fn digest(changes: impl IntoIterator<Item = Change>) -> u64 {
    let changes = changes.into_iter().map(|change| ("stream", change));
    shard([("stream", Change::Began { lost: 0 })].into_iter().chain(changes)).digest()
}

fn resumable(by: &Subscription, parked: Option<Parked>) -> Change {
    resumable_as(by, action_cable::CODEC, Watch::Members, Some(Grant::OPEN), parked)
}

fn resumable_as(
    by: &Subscription,
    codec: Codec,
    watch: Watch,
    grant: Option<Grant>,
    parked: Option<Parked>,
) -> Change {
    Change::Resumable { by: by.clone(), codec, watch, grant, parked, ttl: TTL }
}

fn record(owner: Owner) -> Change {
    Change::Record { owner, ttl: TTL, id: "ann".into(), info: "1".into(), extra: None, arrived: 0 }
}

#[test]
fn any_difference_of_subscriptions_changes_the_digest() {
    let (one, other, wide) = (by(1, "\"a\""), by(1, "\"b\""), by(1 << 64 | 1, "\"a\""));
    let (codec, watch) = (action_cable::CODEC, Watch::Members);
    let identity = |identifier, presence_id| Identity { identifier, presence_id };
    let grant =
        |join, whisper, identity| Some(Grant { rights: Rights { join, whisper }, identity });
    let with = |grant| vec![resumable_as(&one, codec, watch, grant, None)];
    let parked = |at, confirmed_before, sent_before| {
        let known = Known {
            confirmed_before: Position(confirmed_before),
            sent_before: Position(sent_before),
        };
        Some(Parked { at: Position(at), known })
    };
    let states = [
        ("none", vec![]),
        ("connected", vec![resumable(&one, None)]),
        ("parked", vec![resumable(&one, Some(PARKED))]),
        ("parked, with more known", vec![resumable(&one, parked(5, 4, 4))]),
        ("parked, with more unsure", vec![resumable(&one, parked(5, 3, 5))]),
        ("parked later", vec![resumable(&one, parked(6, 3, 4))]),
        ("another identifier", vec![resumable(&other, Some(PARKED))]),
        ("another session", vec![resumable(&wide, Some(PARKED))]),
        ("two", vec![resumable(&one, Some(PARKED)), resumable(&other, Some(PARKED))]),
        ("another codec", vec![resumable_as(&one, chat::CODEC, watch, Some(Grant::OPEN), None)]),
        (
            "another watch",
            vec![resumable_as(&one, codec, Watch::Occupancy, Some(Grant::OPEN), None)],
        ),
        ("no grant", with(None)),
        ("no rights", with(grant(false, false, Identity::ANYONE))),
        ("one right", with(grant(true, false, Identity::ANYONE))),
        ("the other right", with(grant(false, true, Identity::ANYONE))),
        ("an identity", with(grant(true, true, identity(7, 0)))),
        ("another identity", with(grant(true, true, identity(0, 7)))),
    ];
    let mut digests = BTreeMap::new();
    for (what, changes) in states {
        if let Some(before) = digests.insert(digest(changes), what) {
            panic!("{before} and {what} have the same digest");
        }
    }
}

#[test]
fn any_difference_of_owners_changes_the_digest() {
    let owner = |by, ended| Owner::Subscription { by, ended };
    let ended = Position(1);
    let states = [
        ("a subscription", owner(by(1, "\"a\""), None)),
        ("one that has ended", owner(by(1, "\"a\""), Some(ended))),
        ("another session", owner(by(2, "\"a\""), None)),
        ("another half of a session", owner(by(1 << 64 | 1, "\"a\""), None)),
        ("another identifier", owner(by(1, "\"b\""), None)),
        ("nobody", Owner::Orphan { ended }),
        ("the application", Owner::Application { until: None }),
        ("the application, for a time", Owner::Application { until: Some(1) }),
        (
            "the application, for more time than half a century",
            Owner::Application { until: Some(1 << 62) },
        ),
    ];
    let mut digests = BTreeMap::new();
    for (what, owner) in states {
        if let Some(before) = digests.insert(digest([record(owner)]), what) {
            panic!("{before} and {what} have the same digest");
        }
    }
}

#[test]
fn any_difference_of_use_changes_the_digest() {
    let idle = || Change::Idle { epoch: SETTINGS.log.epoch(Position(1)), head: Offset::default() };
    let used = |by| Change::Used { by };
    let states = [
        ("unknown", vec![]),
        ("used by a node", vec![used(Some(NodeId(2)))]),
        ("used by another", vec![used(Some(NodeId(3)))]),
        ("idle", vec![idle()]),
        ("idle later", vec![used(None), idle()]),
    ];
    let mut digests = BTreeMap::new();
    for (what, changes) in states {
        if let Some(before) = digests.insert(digest(changes), what) {
            panic!("{before} and {what} have the same digest");
        }
    }
    assert_eq!(digest([used(Some(NodeId(2))), used(None)]), digest([]));
}

#[test]
fn equal_parts_do_not_cancel() {
    let snapshot = || Change::Snapshot {
        epoch: Epoch::from("epoch"),
        head: Offset::default(),
        lost: 0,
        journal: Position(0),
    };
    let none = shard([]).digest();
    assert_ne!(none, shard([("one", snapshot()), ("two", snapshot())]).digest());
}

#[test]
fn what_comes_and_goes_leaves_the_digest_as_before() {
    let (one, two) = (by(1, "\"a\""), by(2, "\"a\""));
    let (codec, watch, grant) = (action_cable::CODEC, Watch::Members, Grant::OPEN);
    let subscribed = |by: &Subscription| Change::Subscribed { by: by.clone(), codec, watch, grant };
    let parking = Some(Box::new(Parking { codec, watch, known: KNOWN, ttl: TTL }));
    let ended = Change::Ended { by: one.clone(), ttl: TTL, parking };
    let moved = vec![
        subscribed(&one),
        ended.clone(),
        Change::Resumed { from: one.clone(), to: two.session },
    ];
    assert_eq!(digest(moved.clone()), digest([subscribed(&two)]));
    let gone = moved.into_iter().chain([Change::Unsubscribed { by: two }]);
    assert_eq!(digest(gone), digest([]));
    let lapsed = [subscribed(&one), ended, Change::Lapsed { by: one, parked: Position(3) }];
    assert_eq!(digest(lapsed), digest([]));
}
