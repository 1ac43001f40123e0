//! Server-sent events.

use std::time::Duration;

use broker::auth::{Access, Keys, Tokens};
use broker::net::Liveness;
use broker::protocol::{PingParameters, PingPrecision};
use serde_json::{Value, json};
use warp::http::StatusCode;

use crate::client::{pass, settle};
use crate::parts::{NOBODY, Options, Parts, SECOND};
use crate::reader::{Event, Reader};

fn json(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_else(|_| panic!("{event:?}"))
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

/// What has come of presence, as `["join", "ann"]`.
fn presence(reader: &mut Reader) -> Vec<(String, String)> {
    let events = reader.events();
    let events = events.iter().filter(|event| event.kind == "presence").map(json);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events.map(|event| (text(&event["type"]), text(&event["id"]))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_welcomed_and_told() {
    let broker = Parts::start(&Options::default());
    let mut reader = Reader::connect(&broker, "stream=room").await;
    assert_eq!(reader.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(reader.header("access-control-allow-origin"), "*");
    assert_eq!(broker.context.connections(), 1);
    settle().await;
    broker.publish("room", "{\n\"n\":1}").await;
    settle().await;
    let events = reader.events();
    assert_eq!(kinds(&events), ["welcome", "confirm_subscription", ""]);
    assert_eq!(json(&events[0])["sid"].as_str().unwrap().len(), 32);
    let identifier = r#"{"channel":"$pubsub","stream_name":"room"}"#;
    let confirmed = json!({"identifier": identifier, "type": "confirm_subscription"});
    assert_eq!(json(&events[1]), confirmed);
    assert_eq!((&*events[2].data, &*events[2].id), ("{\n\"n\":1}", ""));
    reader.far.end();
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_raw_stream_has_nothing_but_messages() {
    let broker = Parts::start(&Options::default());
    let mut raw = Reader::connect(&broker, "stream=room&raw=1&presence_id=ann").await;
    settle().await;
    broker.publish("room", "1").await;
    settle().await;
    assert_eq!(broker.presence("room").await, ["ann"]);
    broker.stop();
    settle().await;
    assert_eq!(raw.text(), "data: 1\n\n");
    assert!(raw.far.is_at_end());
}

#[tokio::test(start_paused = true)]
async fn who_reads_is_present_until_the_ttl_after_its_connection() {
    let broker = Parts::start(&Options::default());
    let mut watcher = Reader::connect(&broker, "stream=room&presence=list").await;
    let info = "%7B%22name%22:%22Ann%22%7D";
    let query = format!("stream=room&presence_id=ann&presence_info={info}");
    let mut ann = Reader::connect(&broker, &query).await;
    settle().await;
    let events = ann.events();
    assert_eq!(kinds(&events), ["welcome", "confirm_subscription", "presence"]);
    let joined = json!({"type": "join", "id": "ann", "info": {"name": "Ann"}});
    assert_eq!(json(&events[2]), joined);
    let event = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
    assert_eq!(presence(&mut watcher), [event("info", ""), event("join", "ann")]);
    for _ in 0..100 {
        pass(1000).await; // far longer than any TTL
    }
    assert_eq!(broker.presence("room").await, ["ann"]);
    // a reload
    ann.far.reset();
    pass(1500).await;
    let again = Reader::connect(&broker, &query).await;
    pass(10_000).await;
    assert_eq!(presence(&mut watcher), []);
    assert_eq!(broker.presence("room").await, ["ann"]);
    again.far.end();
    pass(1500).await;
    assert_eq!(presence(&mut watcher), []);
    pass(1500).await;
    assert_eq!(presence(&mut watcher), [event("leave", "ann")]);
    watcher.far.end();
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn who_only_counts_is_told_numbers() {
    let broker = Parts::start(&Options::default());
    let mut counter = Reader::connect(&broker, "stream=room&presence=occupancy").await;
    let _others = [
        Reader::connect(&broker, "stream=room&presence_id=ann").await,
        Reader::connect(&broker, "stream=room&presence_id=bob").await,
    ];
    for _ in 0..30 {
        pass(100).await;
    }
    let events = counter.events();
    let totals: Vec<_> = events.iter().filter(|event| event.kind == "presence").map(json).collect();
    let total = |n: u64| json!({"type": "occupancy", "total": n});
    assert_eq!((totals.first(), totals.last()), (Some(&total(0)), Some(&total(2))), "{totals:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_back_goes_on_where_it_was() {
    let broker = Parts::start(&Options { history: 100, ..Options::default() });
    let mut reader = Reader::connect(&broker, "stream=room").await;
    for number in 1..=3 {
        broker.publish("room", &number.to_string()).await;
    }
    settle().await;
    let id = reader.events()[3].id.clone();
    assert!(id.starts_with("2/") && id.ends_with("/room"), "{id}");
    reader.far.end();
    broker.publish("room", "4").await;
    let mut expected = vec!["3".to_owned(), "4".to_owned()];
    let query = format!("stream=room&lastEventId={id}");
    for (query, last) in [("stream=room", id.as_str()), (&query, "")] {
        let mut again = Reader::ask(&broker, query, last, 10_000).await;
        settle().await;
        let events = again.events();
        assert_eq!(kinds(&events)[..2], ["welcome", "confirm_subscription"]);
        assert_eq!(events.last().unwrap().kind, "confirm_history");
        let missed = events.iter().filter(|event| event.kind.is_empty());
        assert!(missed.map(|event| &event.data).eq(&expected), "{events:?}");
        let live = expected.len().to_string();
        broker.publish("room", &live).await;
        settle().await;
        assert_eq!(again.events()[0].data, live);
        expected.push(live);
    }
    for last in ["9/other/room", "1/other/elsewhere", "nonsense"] {
        let mut again = Reader::ask(&broker, "stream=room", last, 10_000).await;
        settle().await;
        let expected = ["welcome", "confirm_subscription", "reject_history"];
        assert_eq!(kinds(&again.events()), expected, "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_is_refused_before_anything_is_sent() {
    let tokens = Keys::new(["k"]).map(|keys| Tokens::new(keys).with_presence_id("sub"));
    let strict = Access { tokens, token_required: true, ..Access::default() };
    for (access, query, status) in [
        (Access::default(), "", StatusCode::BAD_REQUEST),
        (Access::default(), "stream=a&history_since=x", StatusCode::BAD_REQUEST),
        (Access::default(), "signed_stream=a--b", StatusCode::UNAUTHORIZED),
        (Access::default(), "channel=Chat", StatusCode::UNAUTHORIZED),
        (
            Access { token_required: false, ..strict.clone() },
            "stream=a&presence_id=ann",
            StatusCode::UNAUTHORIZED,
        ),
        (strict.clone(), "stream=a", StatusCode::UNAUTHORIZED),
        (strict, "stream=a&jid=nonsense", StatusCode::UNAUTHORIZED),
    ] {
        let broker = Parts::start(&Options { access, ..Options::default() });
        let mut reader = Reader::ask(&broker, query, "", 10_000).await;
        assert_eq!(reader.status(), status, "{query}");
        assert!(reader.length() > Some(0), "{query}: no reason");
        settle().await;
        assert_eq!(reader.text(), "", "{query}");
        assert_eq!(broker.context.connections(), 0, "{query}");
        broker.assert_empty().await;
    }
    let broker = Parts::start(&Options::default());
    let long = format!("stream=a&presence_id={}", "x".repeat(200));
    assert_eq!(Reader::ask(&broker, &long, "", 0).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(broker.metric("broker_limit_refusals_total{limit=\"presence_id_length\"}"), 1);
    broker.context.stop();
    let refused = Reader::ask(&broker, "stream=a", "", 0).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn when_there_is_no_place_there_is_none() {
    let broker = Parts::start(&Options::default());
    let places: Vec<_> = (0..1000).map(|_| broker.context.admit(NOBODY).unwrap()).collect();
    let refused = Reader::ask(&broker, "stream=a", "", 0).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(places);
    Reader::connect(&broker, "stream=a").await;
}

#[tokio::test(start_paused = true)]
async fn at_the_stop_readers_hear_of_it_and_their_streams_end() {
    let broker = Parts::start(&Options::default());
    let mut reader = Reader::connect(&broker, "stream=room&presence_id=ann").await;
    settle().await;
    broker.stop();
    settle().await;
    let events = reader.events();
    let last = events.last().unwrap();
    assert_eq!((&*last.kind, &*last.retry), ("disconnect", ""));
    let goodbye = json!({"type": "disconnect", "reason": "server_restart", "reconnect": true});
    assert_eq!(json(last), goodbye);
    assert!(reader.far.is_at_end() && !reader.far.is_closed());
    assert_eq!(broker.context.connections(), 1, "the socket is there still");
    reader.far.end();
    settle().await;
    assert_eq!(broker.context.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_reads_too_slowly_gets_whole_events_and_the_reason() {
    // so that the cut falls on every kind of place
    for (room, size, at_once) in (0..60).map(|n| (201 + 37 * n, 40 + 61 * n % 700, 1 + n % 5)) {
        let broker = Parts::start(&Options { max_outbox: 9000, ..Options::default() });
        let mut slow = Reader::connect_with(&broker, "stream=room", room).await;
        let mut events = Vec::new();
        for number in 0..20_000 / size {
            broker.publish("room", &json!([number, "x".repeat(size)]).to_string()).await;
            if number % at_once == 0 {
                settle().await;
            }
            if number < 7 {
                events.extend(slow.events());
            }
        }
        settle().await;
        assert_eq!(broker.metric("broker_outbox_overflows_total"), 1, "{room} {size}");
        for _ in 0..100 {
            events.extend(slow.events());
            settle().await;
        }
        assert!(slow.far.is_at_end() && slow.partial().is_empty(), "{room} {size}");
        let (last, messages) = events[2..].split_last().unwrap();
        let goodbye = json!({"type": "disconnect", "reason": "too_slow", "reconnect": true});
        assert_eq!((&*last.kind, json(last)), ("disconnect", goodbye));
        assert!(messages.len() < 20_000 / size);
        for (number, message) in messages.iter().enumerate() {
            assert_eq!(json(message)[0], number, "{size}");
        }
        slow.far.end();
        broker.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_reading_is_let_go() {
    let broker = Parts::start(&Options { max_outbox: 50_000, ..Options::default() });
    let stuck = Reader::connect_with(&broker, "stream=room&presence_id=ann", 10_000).await;
    let mut other = Reader::connect(&broker, "stream=room").await;
    other.events();
    for number in 0..80 {
        broker.publish("room", &json!([number, "x".repeat(1000)]).to_string()).await;
        settle().await;
        other.events();
    }
    assert_eq!(broker.metric("broker_outbox_overflows_total"), 1);
    assert!(!stuck.far.is_closed(), "it may still come to its senses");
    pass(2500).await;
    assert_eq!(presence(&mut other), [("leave".to_owned(), "ann".to_owned())]);
    pass(600).await;
    assert!(stuck.far.is_closed());
    other.far.end();
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_sends_is_nothing_to_anyone() {
    let broker = Parts::start(&Options::default());
    let mut reader = Reader::connect(&broker, "stream=room&raw=1").await;
    for _ in 0..10 {
        reader.far.send(&[0xFF; 5000]);
        reader.far.send(b"GET / HTTP/1.1\r\n\r\n");
        settle().await;
    }
    broker.publish("room", "1").await;
    settle().await;
    assert_eq!((reader.text(), reader.far.unread()), ("data: 1\n\n".to_owned(), 0));
    broker.stop();
    settle().await;
    reader.far.send(&[0xFF; 5000]);
    reader.far.end();
    settle().await;
    assert!(reader.far.is_at_end() && !reader.far.was_reset());
    broker.assert_empty().await;
}

const PINGED: PingParameters =
    PingParameters { ping_interval: SECOND, ping_precision: PingPrecision::Seconds };

#[tokio::test(start_paused = true)]
async fn pings_come_at_their_interval_and_none_is_a_frame() {
    let liveness = Liveness { interval: 2 * SECOND, timeout: SECOND };
    let sessions_ttl = Duration::from_secs(60);
    let options = Options { ping: PINGED, liveness, sessions_ttl, ..Options::default() };
    let broker = Parts::start(&options);
    let mut reader = Reader::connect(&broker, "stream=room&presence_id=ann&pi=1").await;
    let mut rare = Reader::connect(&broker, "stream=room&pi=5").await;
    let mut raw = Reader::connect(&broker, "stream=room&raw=1").await;
    for _ in 0..105 {
        pass(100).await;
    }
    let pings = |events: &[Event]| kinds(events).iter().filter(|kind| **kind == "ping").count();
    let events = reader.events();
    assert_eq!(pings(&events), 10, "{events:?}");
    assert!(json(events.last().unwrap())["message"].is_u64());
    assert_eq!(pings(&rare.events()), 2);
    assert_eq!(raw.text(), ":\n\n".repeat(10));
    assert_eq!(broker.context.connections(), 3, "nobody has to answer");
}

/// The systems of clients that are gone don't acknowledge what is sent, so something has to be.
#[tokio::test(start_paused = true)]
async fn without_pings_something_is_sent_that_has_to_arrive() {
    let liveness = Liveness { interval: 2 * SECOND, timeout: SECOND };
    let broker = Parts::start(&Options { liveness, ..Options::default() });
    let mut reader = Reader::connect(&broker, "stream=room&raw=1").await;
    for _ in 0..105 {
        pass(100).await;
    }
    assert_eq!(reader.text(), ":\n\n".repeat(5));
    let broker = Parts::start(&Options::default());
    let mut reader = Reader::connect(&broker, "stream=room&raw=1").await;
    for _ in 0..1000 {
        pass(100).await;
    }
    assert_eq!(reader.text(), "", "no liveness is asked for");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_before_its_answer_leaves_nothing() {
    let broker = Parts::start(&Options::default());
    let (_, line) = Reader::request(&broker, "stream=room&presence_id=ann", "").await;
    settle().await;
    assert_eq!(broker.context.connections(), 1);
    drop(line);
    broker.assert_empty().await;
    let reader = Reader::ask(&broker, "stream=room", "", 10_000).await;
    reader.far.reset();
    broker.assert_empty().await;
}
