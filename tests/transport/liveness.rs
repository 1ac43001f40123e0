//! Liveness pings, and connections that are closed for silence.

use crate::client::{Client, Frame, pass, settle, text};
use crate::parts::{Options, Parts, SECOND};
use broker::net::Liveness;
use serde_json::json;

/// Asked after ten seconds, given up after five more.
fn start() -> Parts {
    let liveness = Liveness { interval: 10 * SECOND, timeout: 5 * SECOND };
    Parts::start(&Options { liveness, ..Options::default() })
}

fn is_ping(frame: &Frame) -> bool {
    matches!(frame, Frame::Ping(_))
}

fn assert_only_ping(frames: &[Frame]) {
    assert!(matches!(frames, [Frame::Ping(_)]), "{frames:?}");
}

/// The last words to a client that seems dead.
fn assert_said_no_pong(frames: &[Frame]) {
    let [Frame::Text(disconnect), close] = frames else { panic!("{frames:?}") };
    let disconnect: serde_json::Value = serde_json::from_str(disconnect).expect("JSON");
    assert_eq!(disconnect, json!({"type": "disconnect", "reason": "no_pong", "reconnect": true}));
    assert_eq!(*close, Frame::Close(1000, "no_pong".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_asked_and_then_given_up() {
    let broker = start();
    let mut client = broker.connect();
    pass(9900).await;
    assert_eq!(client.frames().len(), 1, "the welcome");
    pass(300).await;
    assert_only_ping(&client.frames());
    pass(4700).await;
    assert_eq!(client.frames(), []);
    pass(300).await;
    assert_said_no_pong(&client.frames());
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"no_pong\"}"), 1);
    pass(5100).await;
    assert!(client.far.is_closed());
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_stays() {
    let broker = start();
    let mut client = broker.connect();
    let mut pings = 0;
    for _ in 0..1200 {
        pass(100).await;
        if client.frames().iter().any(is_ping) {
            pass(4500).await;
            client.pong();
            pings += 1;
        }
    }
    assert!((8..=12).contains(&pings), "{pings} pings");
    assert_eq!(broker.context.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn any_bytes_are_a_sign_of_life() {
    let broker = start();
    let mut client = broker.connect();
    for byte in text(&json!({"command": "ping"})) {
        pass(9500).await;
        client.far.send(&[byte]);
    }
    settle().await;
    let frames = client.frames();
    assert!(!frames.iter().any(is_ping), "{frames:?}");
    assert_eq!(frames.len(), 2);
    assert_eq!(broker.context.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_but_was_not_read_counts() {
    let broker = start();
    let mut client = broker.connect();
    pass(10_200).await;
    assert!(client.frames().iter().any(is_ping));
    client.far.fall_asleep();
    client.pong();
    pass(60_000).await;
    assert_eq!(client.frames(), []);
    client.far.wake_up();
    settle().await;
    assert_eq!(client.far.unread(), 0);
    pass(9000).await;
    assert_eq!(client.frames(), []);
    assert_eq!(broker.context.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_kills_nobody() {
    let broker = start();
    let (mut asked, mut silent) = (broker.connect(), broker.connect());
    pass(10_200).await;
    assert!(asked.frames().iter().any(is_ping) && silent.frames().iter().any(is_ping));
    for minutes in [1, 10, 60] {
        tokio::time::advance(minutes * 60 * SECOND).await;
        settle().await;
    }
    assert_eq!((asked.frames(), silent.frames()), (vec![], vec![]));
    pass(4000).await;
    asked.pong();
    pass(1000).await;
    assert_eq!(asked.frames(), []);
    assert_said_no_pong(&silent.frames());
}

/// A client that has been sent more than it reads, and what it has received.
async fn backlog(broker: &Parts) -> Client {
    let (mut client, _task) = broker.connect_with(1000);
    client.command("subscribe", "room");
    settle().await;
    assert_eq!(client.frames().len(), 2);
    for _ in 0..20 {
        broker.publish("room", &format!("\"{}\"", "x".repeat(900))).await;
    }
    settle().await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_what_waits_for_it_is_not_given_up() {
    let broker = start();
    let mut client = backlog(&broker).await;
    for _ in 0..80 {
        pass(1000).await;
        client.receive(100);
        assert_eq!(broker.context.connections(), 1);
    }
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"no_pong\"}"), 0);
    // it has stopped reading
    pass(10_500).await;
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"no_pong\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_what_waits_for_it_is_given_up() {
    let broker = start();
    let mut client = backlog(&broker).await;
    pass(14_900).await;
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"no_pong\"}"), 0);
    pass(300).await;
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"no_pong\"}"), 1);
    let mut frames = Vec::new();
    for _ in 0..100 {
        frames.extend(client.frames());
        settle().await;
    }
    let (ping, said) = (frames.iter().position(is_ping), frames.len() - 2);
    assert_eq!(ping, Some(said - 1));
    assert_said_no_pong(&frames[said..]);
}

#[tokio::test(start_paused = true)]
async fn a_client_has_the_whole_timeout_from_when_the_ping_left() {
    let broker = start();
    let mut client = backlog(&broker).await;
    pass(10_200).await;
    // the ping waits behind the backlog, of which the client takes little for most of the timeout
    for _ in 0..4 {
        client.receive(100);
        pass(1000).await;
    }
    let mut frames = Vec::new();
    for _ in 0..100 {
        frames.extend(client.frames());
        settle().await;
    }
    assert!(frames.iter().any(is_ping));
    pass(2000).await;
    assert_eq!(client.frames(), [], "the ping left two seconds ago");
    client.pong();
    pass(5000).await;
    assert_eq!(broker.context.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_after_the_ping_left_gives_no_more_time() {
    let broker = start();
    let (mut client, _task) = broker.connect_with(1000);
    client.command("subscribe", "room");
    settle().await;
    assert_eq!(client.frames().len(), 2);
    pass(10_200).await;
    // the ping is on its way; from here on the client does nothing
    broker.publish("room", &format!("\"{}\"", "x".repeat(3000))).await;
    pass(4500).await;
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"no_pong\"}"), 0);
    pass(600).await;
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"no_pong\"}"), 1);
}
