//! Turns: all messages of a turn reach a subscriber in one write, and many expiring members don't delay other
//! streams.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::protocol::chat;
use broker::shard::{End, Input, Publish, Shard, SubscriberKey};
use broker::types::{
    Grant, GroupKey, Identifier, Join, MemberChange, PresenceId, ServerMessage, SessionId,
    StreamCommand, StreamName, Subscribe, SubscribeOptions, Watch,
};

use crate::door::Door as _;
use crate::subscriber::{self, key};

const SUBSCRIBERS: u32 = 10;
const MESSAGES: usize = 5;

fn subscribe(shard: &mut Shard<u32>, stream: &StreamName, session: u32, join: bool, now: Instant) {
    let join = join.then(|| {
        let id = PresenceId::from(session.to_string());
        Join { id, info: "1".into(), extra: None }
    });
    let (key, command) = (key(session), subscriber::subscribe(join));
    let (recipient, reference) = (session, None);
    shard.handle(stream, Input::Command { key, recipient, command, reference }, now);
}

fn publish(shard: &mut Shard<u32>, stream: &StreamName, now: Instant) {
    shard.handle(
        stream,
        Input::Publish(Publish {
            data: "1".into(),
            labels: None,
            at: 0,
            except: None,
            is_transient: false,
        }),
        now,
    );
}

#[test]
fn what_is_said_in_a_turn_is_one_write_to_each() {
    let now = Clock::new().now();
    let mut shard = Shard::new(crate::shard_settings::without_history(Duration::ZERO), now);
    let streams = ["one", "two"].map(StreamName::from);
    for stream in &streams {
        for session in 0..SUBSCRIBERS {
            subscribe(&mut shard, stream, session, false, now);
        }
    }
    while shard.commit(|_| ()).poll_reply().is_some() {}
    for round in 0..3 {
        for stream in &streams {
            for _ in 0..MESSAGES {
                publish(&mut shard, stream, now);
            }
        }
        let mut writes = 0;
        while let Some(slice) = shard.commit(|_| ()).poll_fan_out(3, now) {
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
    let mut shard = Shard::new(crate::shard_settings::without_history(TTL), now);
    let streams = ["room", "other"].map(StreamName::from);
    for stream in &streams {
        subscribe(&mut shard, stream, MEMBERS, false, now);
    }
    for session in 0..MEMBERS {
        subscribe(&mut shard, &streams[0], session, true, now);
        let end = End::at(now);
        shard.handle(&streams[0], Input::Ended { key: key(session), end }, now);
    }
    while shard.commit(|_| ()).poll_reply().is_some() {}
    while shard.commit(|_| ()).poll_fan_out(100, now).is_some() {}
    (shard, streams)
}

#[test]
fn who_runs_out_at_once_is_told_in_one_write_and_others_do_not_wait_for_it() {
    let now = Clock::new().now();
    let (mut shard, [room, other]) = left_room(now);
    let later = now + TTL;
    shard.handle_timeout(later);
    assert!(shard.is_expiring(), "more of them than one turn's");
    assert!(shard.commit(|_| ()).poll_fan_out(100, later).is_none(), "it can wait");

    publish(&mut shard, &other, later);
    let slice = shard.commit(|_| ()).poll_fan_out(100, later).expect("it can't wait");
    assert!(matches!(slice.messages[..], [ServerMessage::Publication(_)]));
    assert!(shard.commit(|_| ()).poll_fan_out(100, later).is_none());

    while shard.is_expiring() {
        shard.handle_timeout(later);
    }
    let slice = shard.commit(|_| ()).poll_fan_out(100, later).expect("all are gone");
    assert_eq!(slice.messages.len(), MEMBERS as usize);
    assert!(shard.commit(|_| ()).poll_fan_out(100, later).is_none());
    publish(&mut shard, &room, later);
    assert_eq!(shard.commit(|_| ()).poll_fan_out(100, later).expect("as ever").messages.len(), 1);
}

#[test]
fn they_wait_for_what_is_in_a_hurry_in_their_stream_and_not_for_long() {
    let now = Clock::new().now();
    let (mut shard, [room, _]) = left_room(now);
    let later = now + TTL;
    shard.handle_timeout(later);
    publish(&mut shard, &room, later);
    let slice = shard.commit(|_| ()).poll_fan_out(100, later).expect("it comes behind them");
    assert!(matches!(
        slice.messages[..],
        [.., ServerMessage::Presence(_), ServerMessage::Publication(_)]
    ));
    assert!(shard.commit(|_| ()).poll_fan_out(100, later).is_none());

    shard.handle_timeout(later);
    assert!(shard.commit(|_| ()).poll_fan_out(100, later).is_none());
    assert!(
        shard.commit(|_| ()).poll_fan_out(100, later + Duration::from_millis(50)).is_some(),
        "long enough"
    );

    shard.handle_timeout(later);
    assert!(shard.commit(|_| ()).poll_fan_out(100, later).is_none());
    shard.flush_deferred();
    assert!(shard.commit(|_| ()).poll_fan_out(100, later).is_some(), "no time left");
}

/// How long changes wait for more in a room of this size where somebody is told all members with them.
const PAUSE: Duration = Duration::from_millis(50);

/// The room that everyone has left but one, and now there is a chat's client who has been told so far.
fn chat_room(now: Instant) -> (Shard<u32>, [StreamName; 2]) {
    let (mut shard, streams) = left_room(now);
    let group = GroupKey::new(chat::CODEC, Identifier::from("\"room\""));
    let key = SubscriberKey { session: SessionId::from_bits(u128::MAX), group };
    let (recipient, command, reference) = (u32::MAX, subscriber::subscribe(None), None);
    shard.handle(&streams[0], Input::Command { key, recipient, command, reference }, now);
    (shard, streams)
}

/// What the chat's client is told now: of how many who came or went, and how many members of the lists
/// beside them.
fn told_to_chat(shard: &mut Shard<u32>, now: Instant) -> (usize, Vec<usize>) {
    while shard.commit(|_| ()).poll_reply().is_some() {}
    let (mut events, mut lists) = (0, Vec::new());
    while let Some(slice) = shard.commit(|_| ()).poll_fan_out(100, now) {
        for message in &slice.messages {
            let ServerMessage::Presence(change) = message else { continue };
            let is_chat = slice.group.codec == chat::CODEC;
            assert!(is_chat || change.members.is_none(), "only a chat wants it");
            if is_chat && !matches!(change.member, MemberChange::Updated { .. }) {
                events += 1;
                lists.extend(change.members.as_ref().map(|members| members.ids.len()));
            }
        }
    }
    (events, lists)
}

#[test]
fn a_crowd_that_goes_is_one_list() {
    let now = Clock::new().now();
    let (mut shard, _) = chat_room(now);
    assert_eq!(told_to_chat(&mut shard, now), (0, vec![]));
    let later = now + TTL;
    let mut turns = 0;
    while !shard.commit(|_| ()).members(&"room".into()).is_empty() {
        shard.handle_timeout(later);
        turns += 1;
    }
    assert!(turns > 5);
    assert_eq!(told_to_chat(&mut shard, later), (MEMBERS as usize, vec![0; MEMBERS as usize]));
}

#[test]
fn who_comes_into_a_large_chat_is_told_at_once_and_the_next_together() {
    let now = Clock::new().now();
    let (mut shard, [room, _]) = chat_room(now);
    let members = MEMBERS as usize;
    let first = MEMBERS + 1;
    let come =
        |shard: &mut Shard<u32>, who| subscribe(shard, &"room".into(), first + who, true, now);
    come(&mut shard, 0);
    assert_eq!(told_to_chat(&mut shard, now), (1, vec![members + 1]));
    for who in 1..40 {
        come(&mut shard, who);
        assert_eq!(told_to_chat(&mut shard, now), (0, vec![]), "they wait");
    }
    let due = shard.poll_timeout().expect("a time when they don't");
    assert!(due > now && due <= now + PAUSE);
    shard.handle_timeout(due);
    assert!(!shard.is_expiring());
    assert_eq!(
        told_to_chat(&mut shard, due),
        (39, vec![members + 40]),
        "and only the last repeats"
    );
    come(&mut shard, 40);
    publish(&mut shard, &room, now);
    assert_eq!(told_to_chat(&mut shard, now), (1, vec![members + 41]), "what is said doesn't wait");
    let much_later = now + 2 * PAUSE;
    come(&mut shard, 41);
    assert_eq!(told_to_chat(&mut shard, much_later), (1, vec![members + 42]));
    come(&mut shard, 42);
    shard.flush_deferred();
    assert_eq!(told_to_chat(&mut shard, much_later), (1, vec![members + 43]), "the broker stops");
}

#[test]
fn a_list_larger_than_an_answer_may_be_is_not_repeated() {
    let now = Clock::new().now();
    let settings = crate::shard_settings::without_history(TTL);
    let mut shard = Shard::new(broker::shard::Settings { max_answer: 50, ..settings }, now);
    let group = GroupKey::new(chat::CODEC, Identifier::from("\"room\""));
    for session in 0..3 {
        let key =
            SubscriberKey { session: SessionId::from_bits(session.into()), group: group.clone() };
        let join = Some(Ok(Join { id: session.to_string().into(), info: "1".into(), extra: None }));
        let (history, options) = (None, SubscribeOptions::default());
        let command = StreamCommand::from(Subscribe { join, history, grant: Grant::OPEN, options });
        let input = Input::Command { key, recipient: session, command, reference: None };
        shard.handle(&"room".into(), input, now);
        // 20 bytes each
        let lists = if session < 2 { vec![session as usize + 1] } else { vec![] };
        assert_eq!(told_to_chat(&mut shard, now), (1, lists));
    }
}

#[test]
fn no_more_run_out_than_can_be_told() {
    const BOUND: usize = 4 * 1024 * 1024;
    let now = Clock::new().now();
    let mut shard = Shard::new(crate::shard_settings::without_history(TTL), now);
    let room = StreamName::from("room");
    subscribe(&mut shard, &room, MEMBERS, false, now);
    for session in 0..MEMBERS {
        let id = PresenceId::from(session.to_string());
        let info = format!("\"{}\"", "a".repeat(2000)).as_str().into();
        let put = broker::shard::Put { join: Join { id, info, extra: None }, ttl: Some(TTL) };
        let placed = shard.put(&room, put, now);
        shard.open(placed).expect("room for it");
    }
    while shard.commit(|_| ()).poll_reply().is_some() {}
    while shard.commit(|_| ()).poll_fan_out(100, now).is_some() {}
    let later = now + TTL;
    let (mut turns, mut told) = (0, 0);
    while shard.is_expiring() || told == 0 {
        for _ in 0..20 {
            shard.handle_timeout(later);
        }
        turns += 1;
        let mut waiting = 0;
        while let Some(slice) = shard.commit(|_| ()).poll_fan_out(100, later) {
            told += slice.messages.len();
            waiting += slice.messages.iter().map(ServerMessage::weight).sum::<usize>();
        }
        assert!(waiting < BOUND + 3000, "{waiting} bytes have waited");
    }
    assert!(turns > 2, "that much can't be told at once");
    assert_eq!(told, MEMBERS as usize);
}

#[test]
fn who_only_counts_is_not_walked_over_for_each_member() {
    let now = Clock::new().now();
    let mut shard = Shard::new(crate::shard_settings::without_history(TTL), now);
    let room = StreamName::from("room");
    let counting = |session: u32| {
        let SubscriberKey { session, group } = key(session);
        SubscriberKey { session, group: GroupKey { watch: Watch::Occupancy, ..group } }
    };
    for session in 0..SUBSCRIBERS {
        let (join, history, options) = (None, None, SubscribeOptions::default());
        let command = StreamCommand::from(Subscribe { join, history, grant: Grant::OPEN, options });
        let (key, recipient, reference) = (counting(session), session, None);
        shard.handle(&room, Input::Command { key, recipient, command, reference }, now);
    }
    let told = |shard: &mut Shard<u32>| {
        while shard.commit(|_| ()).poll_reply().is_some() {}
        let mut told: Vec<(usize, usize)> = Vec::new();
        while let Some(slice) = shard.commit(|_| ()).poll_fan_out(100, now) {
            assert_eq!(slice.group.watch, Watch::Occupancy);
            told.extend(slice.recipients.iter().map(|(_, has)| (slice.messages.len(), *has)));
        }
        told
    };
    let put = |shard: &mut Shard<u32>, id: &str| {
        let join = Join { id: id.into(), info: "1".into(), extra: None };
        let put = broker::shard::Put { join, ttl: None };
        let placed = shard.put(&room, put, now);
        shard.open(placed).expect("room");
    };
    put(&mut shard, "ann");
    assert_eq!(told(&mut shard).len(), SUBSCRIBERS as usize, "the number");
    for id in ["bob", "cem"] {
        put(&mut shard, id);
        assert_eq!(told(&mut shard), [], "the number comes later");
    }
    put(&mut shard, "dan");
    publish(&mut shard, &room, now);
    // what was said of members is gone from the log, or comes along
    assert_eq!(told(&mut shard), vec![(2, 0); SUBSCRIBERS as usize]);
}
