//! The welcome, and the first commands.

use serde_json::json;

use crate::client::{Client, Frame, identifier, settle, subscribe, text};
use crate::parts::{NOBODY, Options, Parts, QUIET};
use crate::pipe::pipe;

#[tokio::test(start_paused = true)]
async fn a_client_is_welcomed_with_its_sid() {
    let broker = Parts::start(&Options::default());
    let mut client = broker.connect();
    settle().await;
    let sid = format!("{:032x}", 1);
    assert_eq!(client.messages(), [json!({"type": "welcome", "sid": sid})]);
    assert_eq!(broker.context.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_came_with_the_handshake_is_read() {
    let broker = Parts::start(&Options::default());
    let (near, far) = pipe(1 << 20);
    // two messages in one segment, and the start of a third
    let third = subscribe("c");
    let read = [subscribe("a"), subscribe("b"), third[..9].to_vec()].concat();
    let connection = broker.open(near, QUIET, &read);
    let _task = tokio::spawn(connection);
    let mut client = Client::new(far);
    settle().await;
    let confirmed =
        |stream: &str| json!({"identifier": identifier(stream), "type": "confirm_subscription"});
    assert_eq!(client.messages()[1..], [confirmed("a"), confirmed("b")]);
    client.far.send(&third[9..]);
    settle().await;
    assert_eq!(client.messages(), [confirmed("c")]);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_came_with_the_handshake_is_answered() {
    let broker = Parts::start(&Options::default());
    let (near, far) = pipe(1 << 20);
    let read = [subscribe("a"), crate::client::masked(0x88, &1000_u16.to_be_bytes())].concat();
    let _task = tokio::spawn(broker.open(near, QUIET, &read));
    let mut client = Client::new(far);
    settle().await;
    let frames = client.frames();
    assert_eq!(frames.last(), Some(&Frame::Close(1000, String::new())), "{frames:?}");
    client.far.end();
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_may_come_one_by_one() {
    let broker = Parts::start(&Options::default());
    let mut client = broker.connect();
    for byte in [subscribe("a"), text(&json!({"command": "ping"}))].concat() {
        client.far.send(&[byte]);
        settle().await;
    }
    let kinds: Vec<_> = client.messages().iter().map(|message| message["type"].clone()).collect();
    assert_eq!(kinds, ["welcome", "confirm_subscription", "pong"]);
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_places_than_allowed() {
    let broker = Parts::start(&Options::default());
    let clients: Vec<_> = (0..1000).map(|_| broker.connect()).collect();
    assert!(broker.context.admit(NOBODY).is_err());
    clients[0].far.reset();
    settle().await;
    assert!(broker.context.admit(NOBODY).is_ok());
}
