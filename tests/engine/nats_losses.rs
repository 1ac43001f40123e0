//! Logs in NATS that don't go on.

use std::time::Duration;

use broker::engine::{Cursor, Event, LostReason};
use bytes::Bytes;
use serde_json::json;

use crate::nats_server::{NatsServer, copy};
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
async fn the_stream_is_deleted() {
    for appends in [20, 1_000_000] {
        let server = NatsServer::start("");
        let node = told_20(&server, appends).await;
        server.ask("STREAM.DELETE.test-0", json!({})).await;
        assert_eq!(lost(&node).await, LostReason::Missing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_without_what_was_in_memory() {
    for appends in [20, 1_000_000] {
        let mut server = NatsServer::start("");
        let node = told_20(&server, appends).await;
        tokio::task::block_in_place(|| server.restart(Duration::from_millis(100)));
        assert_eq!(lost(&node).await, LostReason::Missing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_is_in_its_place() {
    let server = NatsServer::start("");
    let node = told_20(&server, 20).await;
    server.update("test-0", "description", json!("broker: log 5")).await;
    assert_eq!(lost(&node).await, LostReason::Replaced);
}

/// The server comes back with older files, and what others have appended to them since.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_shorter_or_has_another_batch() {
    for (others, reason) in [(0, LostReason::Shorter), (30, LostReason::Forked)] {
        let mut server = NatsServer::start_durable();
        let node = Node::start(&server.url(), "a", 10).await;
        node.until("all of its own", |state| state.own == 10).await;
        server.kill();
        let (data, older) = (server.data(), server.folder.path().join("older"));
        copy(&data, &older);
        server.begin();
        let more = Node::start(&server.url(), "b", 10).await;
        node.until("told 20", |state| state.log.len() == 20).await;
        drop(more);
        server.kill();
        std::fs::remove_dir_all(&data).unwrap();
        copy(&older, &data);
        if others > 0 {
            let mut elsewhere = NatsServer::start_durable();
            elsewhere.kill();
            std::fs::remove_dir_all(elsewhere.data()).unwrap();
            copy(&older, &elsewhere.data());
            elsewhere.begin();
            let forking = Node::start(&elsewhere.url(), "c", others).await;
            forking.until("all of its own", |state| state.own == others).await;
            drop(forking);
            elsewhere.kill();
            std::fs::remove_dir_all(&data).unwrap();
            copy(&elsewhere.data(), &data);
        }
        server.begin();
        assert_eq!(lost(&node).await, reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_purged_by_hand() {
    let server = NatsServer::start("");
    let node = told_20(&server, 20).await;
    server.ask("STREAM.PURGE.test-0", json!({ "filter": "test.log.0", "seq": 10 })).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(node.state().lost, None, "all that is purged was delivered");
    server.ask("STREAM.PURGE.test-0", json!({})).await;
    assert_eq!(lost(&node).await, LostReason::Trimmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_begins_before_the_log_does_or_behind_it() {
    let server = NatsServer::start("");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 20).await;
    server.ask("STREAM.PURGE.test-0", json!({ "filter": "test.log.0", "seq": 10 })).await;
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
    server.ask("STREAM.MSG.DELETE.test-0", json!({ "seq": 7 })).await;
    log.follow(Cursor(0));
    for number in 1..7 {
        let event = next(&mut log).await;
        assert!(matches!(event, Event::Batch { cursor, .. } if cursor.0 == number), "{event:?}");
    }
    assert_eq!(next(&mut log).await, Event::Lost(LostReason::Trimmed));
}
