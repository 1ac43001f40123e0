//! What NATS alone can do to a log.

use broker::engine::{Cursor, Event};
use bytes::Bytes;
use serde_json::json;

use crate::nats_server::NatsServer;
use crate::node::{Client, Node, agree, next};
use crate::snapshots::log_of;

/// The least that the broker accepts.
const SMALL: &str = "max_payload: 65536";

fn large(length: u32) -> Bytes {
    (0..length).map(|number| number.to_le_bytes()[0]).collect::<Vec<u8>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_larger_than_a_message() {
    let server = NatsServer::start(SMALL);
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut other = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 1).await;
    for (cursor, length) in (2..).zip([32_750, 32_751, 32_768, 65_536, 65_537, 1_000_000]) {
        let bytes = large(length);
        log.append(bytes.clone());
        let event = next(&mut log).await;
        assert!(
            matches!(&event, Event::Batch { cursor: at, batch, .. } if at.0 == cursor && *batch == bytes),
            "of {length} bytes"
        );
    }
    let mut log = other.take_log();
    log.follow(Cursor(6));
    let event = next(&mut log).await;
    assert!(
        matches!(event, Event::Batch { cursor: Cursor(7), batch, .. } if batch == large(1_000_000))
    );
    assert_eq!(next(&mut log).await, Event::CaughtUp);
}

/// Who needs them has those that know the batch put it back.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_batch_are_purged_by_hand() {
    let server = NatsServer::start(SMALL);
    let node = Node::start_large(&server.url(), "large", 2, 100_000).await;
    node.until("all of its own", |state| state.own == 2).await;
    server.ask("STREAM.PURGE.test-snapshots", json!({})).await;
    let late = Node::start_large(&server.url(), "late", 1, 100_000).await;
    let state = late.until("all of its own", |state| state.own == 1).await;
    assert_eq!(state.log.len(), 3);
    assert_eq!(node.until("told 3", |state| state.log.len() == 3).await.put_back, 1);
}

/// Nodes with large batches that come between each other's.
#[tokio::test(flavor = "multi_thread")]
async fn large_batches_of_several_nodes_have_one_order() {
    let server = NatsServer::start(SMALL);
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(&server.url(), name, 300).await);
    }
    let large = Node::start_large(&server.url(), "large", 20, 200_000).await;
    large.until("all of its own", |state| state.own == 20).await;
    agree(&nodes, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_nobody_are_skipped() {
    let server = NatsServer::start("");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 1).await;
    let by_hand = server.client().await;
    let foreign = [&[1][..], &[9; 16], b"a batch of a log that was here before"].concat();
    for message in [Bytes::from_static(b"hello"), Bytes::new(), foreign.into()] {
        by_hand.request("test.log.0", message).await.unwrap();
    }
    log.append(Bytes::from_static(b"mine"));
    let event = next(&mut log).await;
    assert!(matches!(event, Event::Batch { cursor: Cursor(5), .. }), "{event:?}");
    by_hand.request("test.log.0", Bytes::new()).await.unwrap();
    // from wherever, also if the last message is none
    for after in [0, 1, 2, 3, 4, 5, 6] {
        log.follow(Cursor(after));
        let batches = [1, 5].into_iter().filter(|cursor| *cursor > after);
        for cursor in batches {
            let event = next(&mut log).await;
            assert!(
                matches!(event, Event::Batch { cursor: at, .. } if at.0 == cursor),
                "{event:?}"
            );
        }
        assert_eq!(next(&mut log).await, Event::CaughtUp);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_are_deleted_by_hand() {
    let server = NatsServer::start("");
    let mut nodes = Vec::new();
    for name in ["a", "b"] {
        nodes.push(Node::start(&server.url(), name, 3000).await);
    }
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        for stream in ["test-0", "test-snapshots"] {
            let names = server.ask(&format!("CONSUMER.NAMES.{stream}"), json!({})).await;
            for name in names["consumers"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap();
                let subject = format!("$JS.API.CONSUMER.DELETE.{stream}.{name}");
                // it may be gone already
                server.client().await.request(subject, Bytes::new()).await.unwrap();
            }
        }
    }
    agree(&nodes, 3000).await;
}
