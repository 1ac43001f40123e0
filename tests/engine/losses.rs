//! Logs that don't go on.

use std::time::Duration;

use broker::engine::{Cursor, Event, LostReason};
use bytes::Bytes;

use crate::node::{Client, Node, next};
use crate::server::Server;

/// A node that is told 20 batches, then something happens to the log.
async fn after_20(appends: usize, act: impl FnOnce(&mut Server)) -> LostReason {
    let mut redis = Server::start(&[]);
    let node = Node::start(&redis.url(), "a", appends).await;
    let others = Node::start(&redis.url(), "b", 20 - appends.min(20)).await;
    node.until("told 20", |state| state.log.len() >= 20).await;
    drop(others);
    tokio::task::block_in_place(|| act(&mut redis));
    node.until("lost", |state| state.lost.is_some()).await.lost.unwrap()
}

const LOG: &str = "test:{0.1967}:log";

#[tokio::test(flavor = "multi_thread")]
async fn another_log_is_in_its_place() {
    let lost = after_20(20, |redis| {
        redis.tell("HSET test:{0.1967}:meta id 5");
    });
    assert_eq!(lost.await, LostReason::Replaced);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_begins_too_late() {
    let lost = after_20(20, |redis| {
        redis.tell(&format!("XTRIM {LOG} MAXLEN 0"));
        redis.tell("CLIENT KILL TYPE normal");
    });
    assert_eq!(lost.await, LostReason::Trimmed);
}

/// A lost log is neither followed nor written until the worker asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_can_be_followed_again() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let mut log = client.take_log();
    log.follow(Cursor(5));
    assert_eq!(next(&mut log).await, Event::Lost(LostReason::Shorter));
    log.append(Bytes::from_static(b"a"));
    let waited = tokio::time::timeout(Duration::from_secs(2), log.events.recv()).await;
    assert!(waited.is_err(), "{waited:?}");
    log.follow(Cursor(0));
    assert_eq!(next(&mut log).await, Event::CaughtUp);
    let event = next(&mut log).await;
    assert!(matches!(event, Event::Batch { cursor: Cursor(1), .. }), "{event:?}");
}
