//! Logs in NATS that don't go on.

use std::time::Duration;

use broker::engine::{Cursor, Event, LostReason};
use bytes::Bytes;
use serde_json::json;

use crate::nats_server::NatsServer;
use crate::node::{Client, Node, next};
use crate::snapshots::log_of;

/// A node that was told 20 batches of its own and of another one.
async fn told_20(server: &NatsServer, appends: usize) -> Node {
    let node = Node::start(&server.url(), "a", appends).await;
    let others = Node::start(&server.url(), "b", 20 - appends.min(20)).await;
    node.until("told 20", |state| state.log.len() >= 20).await;
    drop(others);
    node
}

async fn lost(node: &Node) -> LostReason {
    node.until("lost", |state| state.lost.is_some()).await.lost.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_is_in_its_place() {
    let server = NatsServer::start("");
    let node = told_20(&server, 20).await;
    server.update("test-0", "description", json!("broker: log 5")).await;
    assert_eq!(lost(&node).await, LostReason::Replaced);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_begins_before_the_log_does_or_behind_it() {
    let server = NatsServer::start("");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 20).await;
    server.ask("STREAM.PURGE.test-0", json!({ "filter": "test.log.0", "seq": 11 })).await;
    for (after, reason) in
        [(0, LostReason::Trimmed), (8, LostReason::Trimmed), (21, LostReason::Shorter)]
    {
        log.follow(Cursor(after));
        assert_eq!(next(&mut log).await, Event::Lost(reason), "{after}");
    }
    // a lost log is neither followed nor written until the worker asks for it
    log.append(Bytes::from_static(b"a"));
    let waited = tokio::time::timeout(Duration::from_secs(2), log.events.recv()).await;
    assert!(waited.is_err(), "{waited:?}");
    log.follow(Cursor(20));
    assert_eq!(next(&mut log).await, Event::CaughtUp);
    let event = next(&mut log).await;
    assert!(matches!(event, Event::Batch { cursor: Cursor(21), .. }), "{event:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_deleted_by_hand() {
    let server = NatsServer::start("");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 20).await;
    server.ask("STREAM.MSG.DELETE.test-0", json!({ "seq": 8 })).await;
    log.follow(Cursor(0));
    for number in 1..7 {
        let event = next(&mut log).await;
        assert!(matches!(event, Event::Batch { cursor, .. } if cursor.0 == number), "{event:?}");
    }
    assert_eq!(next(&mut log).await, Event::Lost(LostReason::Trimmed));
}
