//! What is said to a stream before anyone is told leaves as one write to each who follows it, and many
//! members whose time is over don't hold others up.

use std::time::{Duration, Instant};

use broker::broker::{End, Input, Shard, SubscriberKey};
use broker::clock::Clock;
use broker::types::{
    Arrival, Codec, Grant, GroupKey, Identifier, Join, PresenceId, ServerMessage, SessionId,
    StreamCommand, StreamName,
};

const SUBSCRIBERS: u32 = 10;
const MESSAGES: usize = 5;

/// A room's subscribers' key.
fn key(session: u32) -> SubscriberKey {
    let group = GroupKey::new(Codec::ActionCable, Identifier::from("\"room\""));
    SubscriberKey { session: SessionId::from_bits(session.into()), group }
}

fn subscribe(shard: &mut Shard<u32>, stream: &StreamName, session: u32, join: bool, now: Instant) {
    let join = join.then(|| {
        let id = PresenceId::from(session.to_string());
        Ok(Join { id, info: "1".into(), extra: None })
    });
    let (history, arrival) = (None, Arrival::default());
    let command = StreamCommand::Subscribe { join, history, grant: Grant::OPEN, arrival };
    let (key, recipient, reference) = (key(session), session, None);
    shard.handle(stream, Input::Command { key, recipient, command, reference }, now);
}

fn publish(shard: &mut Shard<u32>, stream: &StreamName, now: Instant) {
    shard.handle(
        stream,
        Input::Publish { data: "1".into(), labels: None, at: 0, except: None, is_transient: false },
        now,
    );
}

#[test]
fn what_is_said_in_a_turn_is_one_write_to_each() {
    let now = Clock::new().now();
    let mut shard = Shard::new(crate::shard::without_history(Duration::ZERO), now);
    let streams = ["one", "two"].map(StreamName::from);
    for stream in &streams {
        for session in 0..SUBSCRIBERS {
            subscribe(&mut shard, stream, session, false, now);
        }
    }
    while shard.poll_reply().is_some() {}
    for round in 0..3 {
        for stream in &streams {
            for _ in 0..MESSAGES {
                publish(&mut shard, stream, now);
            }
        }
        let mut writes = 0;
        while let Some(slice) = shard.poll_fan_out(3, now) {
            assert_eq!(slice.messages.len(), MESSAGES, "in round {round}");
            writes += slice.recipients.len();
        }
        assert_eq!(writes, 2 * SUBSCRIBERS as usize, "in round {round}");
    }
}

const MEMBERS: u32 = 5000;
const TTL: Duration = Duration::from_secs(15);

/// A room of which everyone has gone but one, and another stream.
fn left_room(now: Instant) -> (Shard<u32>, [StreamName; 2]) {
    let mut shard = Shard::new(crate::shard::without_history(TTL), now);
    let streams = ["room", "other"].map(StreamName::from);
    for stream in &streams {
        subscribe(&mut shard, stream, MEMBERS, false, now);
    }
    for session in 0..MEMBERS {
        subscribe(&mut shard, &streams[0], session, true, now);
        let end = End { at: now, doubt: None, resumable: false };
        shard.handle(&streams[0], Input::Ended { key: key(session), end }, now);
    }
    while shard.poll_reply().is_some() {}
    while shard.poll_fan_out(100, now).is_some() {}
    (shard, streams)
}

#[test]
fn who_runs_out_at_once_is_told_in_one_write_and_others_do_not_wait_for_it() {
    let now = Clock::new().now();
    let (mut shard, [room, other]) = left_room(now);
    let later = now + TTL;
    shard.handle_timeout(later);
    assert!(shard.is_expiring(), "more of them than one turn's");
    assert!(shard.poll_fan_out(100, later).is_none(), "it can wait");

    publish(&mut shard, &other, later);
    let slice = shard.poll_fan_out(100, later).expect("it can't wait");
    assert!(matches!(slice.messages[..], [ServerMessage::Publication(_)]));
    assert!(shard.poll_fan_out(100, later).is_none());

    while shard.is_expiring() {
        shard.handle_timeout(later);
    }
    let slice = shard.poll_fan_out(100, later).expect("all are gone");
    assert_eq!(slice.messages.len(), MEMBERS as usize);
    assert!(shard.poll_fan_out(100, later).is_none());
    publish(&mut shard, &room, later);
    assert_eq!(shard.poll_fan_out(100, later).expect("as ever").messages.len(), 1);
}

#[test]
fn they_wait_for_what_is_in_a_hurry_in_their_stream_and_not_for_long() {
    let now = Clock::new().now();
    let (mut shard, [room, _]) = left_room(now);
    let later = now + TTL;
    shard.handle_timeout(later);
    publish(&mut shard, &room, later);
    let slice = shard.poll_fan_out(100, later).expect("it comes behind them");
    assert!(matches!(
        slice.messages[..],
        [.., ServerMessage::Presence(_), ServerMessage::Publication(_)]
    ));
    assert!(shard.poll_fan_out(100, later).is_none());

    shard.handle_timeout(later);
    assert!(shard.poll_fan_out(100, later).is_none());
    assert!(shard.poll_fan_out(100, later + Duration::from_millis(50)).is_some(), "long enough");

    shard.handle_timeout(later);
    assert!(shard.poll_fan_out(100, later).is_none());
    shard.hurry();
    assert!(shard.poll_fan_out(100, later).is_some(), "no time left");
}
