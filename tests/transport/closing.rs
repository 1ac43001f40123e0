//! The end of a connection, from either side.

use serde_json::json;

use crate::client::{Frame, masked, pass, settle, subscribe};
use crate::parts::{Options, Parts};

#[tokio::test(start_paused = true)]
async fn a_clients_close_is_answered() {
    let broker = Parts::start(&Options::default());
    let mut client = broker.connect();
    client.join("room", "ann");
    settle().await;
    client.frames();
    client.close(1001);
    settle().await;
    assert_eq!(client.frames(), [Frame::Close(1001, String::new())]);
    assert!(client.far.is_at_end(), "the broker ends the stream");
    assert!(!client.far.is_closed(), "but waits for the client to do so too");
    assert_eq!(broker.metric("broker_connections"), 0, "the session has ended already");
    client.far.end();
    settle().await;
    assert!(client.far.is_closed() && !client.far.was_reset());
    pass(2001).await;
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_and_stays_is_cut_off() {
    let broker = Parts::start(&Options::default());
    let client = broker.connect();
    client.close(1000);
    pass(2000).await;
    assert!(!client.far.is_closed());
    pass(3001).await;
    assert!(client.far.is_closed());
    broker.assert_empty().await;
}

fn restart() -> [Frame; 2] {
    let disconnect = json!({"type": "disconnect", "reason": "server_restart", "reconnect": true});
    // the broker writes the keys in the protocol's order
    let text = format!(
        "{{\"type\":{},\"reason\":{},\"reconnect\":{}}}",
        disconnect["type"], disconnect["reason"], disconnect["reconnect"]
    );
    [Frame::Text(text), Frame::Close(1001, "server_restart".to_owned())]
}

#[tokio::test(start_paused = true)]
async fn the_broker_waits_for_the_clients_close_but_not_for_long() {
    let broker = Parts::start(&Options::default());
    let (mut polite, mut deaf, mut abrupt) = (broker.connect(), broker.connect(), broker.connect());
    settle().await;
    for client in [&mut polite, &mut deaf, &mut abrupt] {
        client.frames();
    }
    broker.stop();
    settle().await;
    for client in [&mut polite, &mut deaf, &mut abrupt] {
        assert_eq!(client.frames(), restart());
        assert!(!client.far.is_at_end());
    }
    polite.close(1001);
    abrupt.far.reset();
    settle().await;
    assert!(polite.far.is_at_end());
    assert_eq!(polite.frames(), [], "a close is answered once");
    polite.far.end();
    settle().await;
    assert_eq!(broker.context.connections(), 1);
    pass(2000).await;
    assert!(!deaf.far.is_closed());
    pass(3001).await;
    assert!(deaf.far.is_closed());
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_after_the_stop_is_told_at_once() {
    let broker = Parts::start(&Options::default());
    broker.stop();
    settle().await;
    let mut client = broker.connect();
    settle().await;
    assert_eq!(client.frames()[1..], restart());
}

#[tokio::test(start_paused = true)]
async fn faults_are_answered_with_their_code() {
    for (bytes, code, reason) in [
        (vec![0xFF, 0x80, 0, 0, 0, 0], 1002, "protocol_error"),
        (masked(0x82, b"1"), 1003, "unsupported_data"),
        (masked(0x81, b"\xFF"), 1007, "invalid_text"),
        (vec![0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], 1009, "message_too_big"),
    ] {
        let broker = Parts::start(&Options::default());
        let mut client = broker.connect();
        // what came before is followed, what comes behind isn't read back
        client.far.send(&[subscribe("room"), bytes, subscribe("hall")].concat());
        settle().await;
        client.far.send(&subscribe("hall"));
        settle().await;
        let frames = client.frames();
        assert_eq!(frames.last(), Some(&Frame::Close(code, reason.to_owned())), "{frames:?}");
        client.close(code);
        client.far.end();
        settle().await;
        assert!(client.far.is_closed() && !client.far.was_reset(), "{reason}");
        assert_eq!(
            broker.metric(&format!("broker_connections_closed_total{{reason=\"{reason}\"}}")),
            1
        );
        broker.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_or_a_reset_ends_the_connection_at_once() {
    let broker = Parts::start(&Options::default());
    let (ends, resets) = (broker.connect(), broker.connect());
    settle().await;
    ends.far.end();
    resets.far.reset();
    broker.assert_empty().await;
    assert!(ends.far.is_closed() && resets.far.is_closed());
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"client_gone\"}"), 2);
}
