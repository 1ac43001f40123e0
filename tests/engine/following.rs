//! Order, gaps, slow workers.

use std::time::Duration;

use broker::engine::{Cursor, EngineError, Event};
use bytes::Bytes;

use crate::engines::{EngineServer, for_each_engine};
use crate::node::{Client, Node, agree, next};
use crate::server::Server;

const COUNT: usize = 300;

for_each_engine!(
    all_nodes_are_told_one_order,
    a_slow_worker_is_told_all_and_holds_nobody_up,
    a_worker_that_stands_still_holds_no_other_partition_up,
    following_begins_where_it_is_asked_to,
    large_batches_pass,
    all_nodes_know_the_same_logs,
);

async fn all_nodes_are_told_one_order<S: EngineServer>() {
    let server = S::launch();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(&server.url(), name, COUNT).await);
    }
    let states = agree(&nodes, COUNT).await;
    assert!(states.iter().all(|state| state.failed == 0), "{states:?}");
    // one that comes later is told the same from the beginning
    let late = Node::start(&server.url(), "late", 0).await;
    let told = late.until("caught up", |state| state.times_caught_up == 1).await;
    assert_eq!(told.log, states.first().unwrap().log);
}

async fn a_slow_worker_is_told_all_and_holds_nobody_up<S: EngineServer>() {
    let server = S::launch();
    // much longer than an append takes, also while other tests run
    let slow = Node::start_slow(&server.url(), "slow", 1, Duration::from_millis(25)).await;
    let fast = Node::start(&server.url(), "fast", COUNT).await;
    fast.until("all of its own", |state| state.own == COUNT).await;
    let at = slow.state().log.len();
    assert!(at < COUNT / 2, "not slow: {at}");
    slow.until("told all", |state| state.log.len() == COUNT + 1).await;
    assert_eq!(slow.state().log, fast.state().log);
    server.check_connections(2);
}

async fn a_worker_that_stands_still_holds_no_other_partition_up<S: EngineServer>() {
    let server = S::launch();
    let mut client = Client::connect(&server.url(), 2).await.unwrap();
    let mut other = Client::connect(&server.url(), 2).await.unwrap();
    let [mut still, mut busy] = [client.take_log(), client.take_log()];
    let mut writer = other.take_log();
    for log in [&mut still, &mut busy, &mut writer] {
        log.follow(Cursor(0));
    }
    for number in 0..200 {
        writer.append(Bytes::from(format!("{number}")));
        busy.append(Bytes::from(format!("{number}")));
        for log in [&mut writer, &mut busy] {
            while !matches!(next(log).await, Event::Batch { .. }) {}
        }
    }
    // then it is told all, from where it was
    for number in 1..=200 {
        loop {
            let event = next(&mut still).await;
            if let Event::Batch { cursor, .. } = event {
                assert_eq!(cursor, Cursor(number));
                break;
            }
            assert_eq!(event, Event::CaughtUp);
        }
    }
}

async fn following_begins_where_it_is_asked_to<S: EngineServer>() {
    let server = S::launch();
    let node = Node::start(&server.url(), "a", 20).await;
    node.until("all of its own", |state| state.own == 20).await;
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = client.take_log();
    for after in [0, 19, 20, 7] {
        log.follow(Cursor(after));
        for number in after + 1..=20 {
            let event = next(&mut log).await;
            assert!(
                matches!(event, Event::Batch { cursor, .. } if cursor.0 == number),
                "{event:?}"
            );
        }
        assert_eq!(next(&mut log).await, Event::CaughtUp);
    }
}

async fn large_batches_pass<S: EngineServer>() {
    let server = S::launch();
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = client.take_log();
    log.follow(Cursor(0));
    assert_eq!(next(&mut log).await, Event::CaughtUp);
    let bytes: Vec<u8> = (0..5_000_000).map(|number: u32| number.to_le_bytes()[0]).collect();
    for _ in 0..3 {
        log.append(bytes.clone().into());
        assert!(matches!(next(&mut log).await, Event::Batch { batch, .. } if batch == bytes));
    }
    assert_eq!(log.bytes_since_snapshot(), 15_000_000);
}

async fn all_nodes_know_the_same_logs<S: EngineServer>() {
    let server = S::launch();
    let url = server.url();
    let (one, other) = tokio::join!(Client::connect(&url, 64), Client::connect(&url, 64));
    let (one, other) = (one.unwrap().opened.log_ids.clone(), other.unwrap().opened.log_ids.clone());
    assert_eq!(one, other);
    let refused = Client::connect(&url, 32).await.err().unwrap();
    assert_eq!(
        refused,
        EngineError::Partitions { cluster: "test".to_owned(), theirs: 64, ours: 32 }
    );
    assert!(refused.to_string().contains("give it the same number"), "{refused}");
}

/// Two clusters of one name may be in two databases of a server, but channels are of all databases.
#[tokio::test(flavor = "multi_thread")]
async fn databases_are_apart() {
    let redis = Server::start(&[]);
    let one = Node::start(&redis.url(), "one", COUNT).await;
    let other = Node::start(&format!("{}/1", redis.url()), "other", COUNT).await;
    for node in [one, other] {
        agree(&[node], COUNT).await;
    }
}
