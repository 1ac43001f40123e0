//! Single cases: a restart, and a full stream.

use std::time::Duration;

use broker::auth::{Client, Streams};
use broker::clock::Clock;
use broker::log::LogId;
use broker::protocol;
use broker::protocol::phoenix;
use broker::protocol::websocket::frame_boundary;
use broker::session::{Action, Session};
use broker::shard::{Delivery, GroupKey, Input, Restoring, Settings, Shard, SubscriberKey};
use broker::types::{Identifier, Join, Limits, SessionId};
use serde_json::Value;

use super::{TTL, settings, topic};
use crate::door::Door as _;
use crate::subscriber::subscribe;

#[test]
fn a_device_that_comes_back_after_a_restart_is_the_same_device() {
    let now = Clock::new().now();
    let mut shard = Shard::<usize>::new(settings(), now);
    shard.keep_entries();
    let group = GroupKey::new(phoenix::CODEC, Identifier::from("\"room\""));
    let key =
        |session| SubscriberKey { session: SessionId::from_bits(session), group: group.clone() };
    let join = |shard: &mut Shard<usize>, session| {
        let command = subscribe(Some(Join { id: "ann".into(), info: "{}".into(), extra: None }));
        let input = Input::Command { key: key(session), recipient: 0, command, reference: None };
        shard.handle(&topic(), input, now);
    };
    join(&mut shard, 1);
    join(&mut shard, 2);
    let mut next = Shard::<usize>::new(Settings { log: LogId(1), ..settings() }, now);
    next.restore(
        shard.take_entries(),
        Restoring { unix: 0, complete: true, has_history: true, now },
    );
    assert_eq!(next.totals().records, 2);
    join(&mut next, 3);
    assert_eq!(next.totals().records, 2, "it has taken the place of one");
    next.handle_timeout(now + Duration::from_millis(TTL));
    assert_eq!(next.totals().records, 1, "the other one has gone");
    assert_eq!(next.commit(|_| ()).records(&topic())[0].records.len(), 1);
}

#[test]
fn who_joins_a_full_stream_watches_and_is_told_why() {
    let now = Clock::new().now();
    let settings = Settings { max_members: 1, max_answer: 100, ..settings() };
    let mut shard = Shard::<usize>::new(settings, now);
    let mut join = |id: &str, info: &str| {
        let frame = format!("[\"1\",\"1\",\"full\",\"phx_join\",{{\"meta\":{info}}}]");
        let client = Client::default().with_default_presence_id(Some(id.into()));
        let mut session = Session::new(SessionId::from_bits(id.len() as u128), &client);
        let request = protocol::decode(phoenix::CODEC, &frame, None, Duration::default);
        let reference = request.reference.clone();
        let action = session.handle(request, &Limits::default(), &Streams::default());
        let Action::Forward { stream, identifier, watch, command } = action else { panic!() };
        let group = GroupKey { codec: phoenix::CODEC, watch, identifier };
        let key = SubscriberKey { session: session.id(), group };
        let input = Input::Command { key, recipient: 0, command, reference };
        shard.handle(&stream, input, now);
        let mut out = Vec::new();
        while let Some(Delivery { group, messages, reference, .. }) =
            shard.commit(|_| ()).poll_reply()
        {
            protocol::encode_run(&group, &messages, reference.as_deref(), &mut out);
        }
        let mut told = Vec::new();
        while !out.is_empty() {
            let rest = out.split_off(frame_boundary(&out, 1));
            let header = if out[1] == 126 { 4 } else { 2 };
            let frame: Value = serde_json::from_slice(&out[header..]).unwrap();
            let text = |at: usize| frame[at].as_str().map(str::to_owned);
            told.push((text(0), text(1), text(3).unwrap(), frame[4].clone()));
            out = rest;
        }
        told
    };
    let events = |told: &[(_, _, String, _)]| -> Vec<String> {
        told.iter().map(|(_, _, event, _)| event.clone()).collect()
    };
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(100));
    assert_eq!(events(&join("ann", &long)), ["phx_reply", "presence_state"]);
    // there is no room for bob, and none for ann in an answer
    let told = join("bobby", "{}");
    assert_eq!(events(&told), ["phx_reply", "broker:error", "broker:error"]);
    let reasons: Vec<_> = told[1..].iter().map(|told| told.3["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].contains("bytes") && reasons[1].contains("full"), "{reasons:?}");
    for (join_ref, reference, ..) in &told[1..] {
        assert_eq!((join_ref.as_deref(), reference), (Some("1"), &None), "it is no second answer");
    }
}
