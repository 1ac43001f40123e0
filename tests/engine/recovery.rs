//! Logs of which Redis loses a part: the nodes put it back.

use std::time::Duration;

use broker::engine::{Cursor, Event, LostReason};

use crate::node::{Client, FORK, Node, State, agree, next};
use crate::server::Server;
use crate::snapshots::log_of;

/// Batches that each node appends, in all.
const COUNT: usize = 300;

const META: &str = "test:{0.1967}:meta";
const LOG: &str = "test:{0.1967}:log";
const CHANNEL: &str = "test:{0.1967}";

/// Nodes that append, while something happens to the log again and again. They must be told the same, and all of it.
async fn while_three_append(flags: &[&str], act: impl Fn(&mut Server)) -> Vec<State> {
    let mut redis = Server::start(flags);
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start_slow(&redis.url(), name, COUNT, Duration::from_millis(2)).await);
    }
    for share in 1..=3 {
        nodes.first().unwrap().until("on its way", |state| state.own >= share * COUNT / 5).await;
        tokio::task::block_in_place(|| act(&mut redis));
    }
    let states = agree(&nodes, COUNT).await;
    assert!(states.iter().any(|state| state.put_back > 0), "nothing was lost: {states:?}");
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_emptied() {
    while_three_append(&[], |redis| redis.tell("FLUSHALL")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_empty() {
    while_three_append(&[], |redis| redis.restart(Duration::from_millis(100))).await;
}

/// What it has is what was saved when the last loss was over.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_with_an_older_state() {
    while_three_append(&["--dbfilename", "dump.rdb"], |redis| {
        redis.tell("SAVE");
        std::thread::sleep(Duration::from_millis(200));
        redis.restart(Duration::ZERO);
    })
    .await;
}

/// Nothing is lost, which has to be found out.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_with_everything() {
    let mut redis = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let node = Node::start(&redis.url(), "a", COUNT).await;
    node.until("on its way", |state| state.own >= COUNT / 2).await;
    tokio::task::block_in_place(|| redis.restart(Duration::from_millis(100)));
    let states = agree(&[node], COUNT).await;
    assert_eq!(states.first().unwrap().put_back, 0);
}

/// A node that was told 20 batches, then something happens to the log.
async fn after_20(act: impl FnOnce(&mut Server)) -> (Server, Node) {
    let mut redis = Server::start(&[]);
    let node = Node::start(&redis.url(), "a", 20).await;
    node.until("told 20", |state| state.log.len() == 20).await;
    tokio::task::block_in_place(|| act(&mut redis));
    node.until("asked for its state", |state| state.put_back == 1).await;
    (redis, node)
}

/// A node that doesn't come back within the lease may have had more.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_forks_if_a_node_is_missing() {
    let redis = Server::start(&[]);
    let node = Node::start(&redis.url(), "a", 20).await;
    let gone = Node::start(&redis.url(), "b", 20).await;
    gone.until("told 40", |state| state.log.len() == 40).await;
    drop(gone);
    redis.tell("FLUSHALL");
    let state = node.until("told of a fork", |state| state.log.len() == 41).await;
    assert_eq!((state.log.last().unwrap().as_str(), state.put_back), (FORK, 1));
}

/// Who comes later has the state that was put back, and what comes behind it.
#[tokio::test(flavor = "multi_thread")]
async fn who_starts_afterwards_begins_with_what_was_put_back() {
    let (redis, node) = after_20(|redis| redis.tell("FLUSHALL")).await;
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let mut log = client.take_log();
    let (cursor, chunks) = log.read_snapshot().await.unwrap().unwrap();
    let state = node.state().log.join("\n");
    assert_eq!((cursor, chunks), (Cursor(20), vec![state.into()]));
    log.follow(Cursor(20));
    assert_eq!(next(&mut log).await, Event::CaughtUp);
    log.append("more".into());
    let event = next(&mut log).await;
    assert!(matches!(event, Event::Batch { cursor: Cursor(21), .. }), "{event:?}");
    node.until("told more", |state| state.log.len() == 21 && state.lost.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_shorter_though_the_server_runs_on() {
    for kills in [false, true] {
        let (redis, _node) = after_20(|redis| {
            redis.tell("HSET test:{0.1967}:meta head 19");
            if kills {
                redis.tell("CLIENT KILL TYPE normal");
            }
        })
        .await;
        until_head(&redis, "20").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_another_batch_though_the_server_runs_on() {
    let last = |redis: &Server| -> Vec<(String, Vec<String>)> {
        redis.ask(&format!("XRANGE {LOG} 20 20"))
    };
    let mut before = Vec::new();
    let (redis, _node) = after_20(|redis| {
        before = last(redis);
        redis.tell(&format!("XDEL {LOG} {}", before.first().unwrap().0));
        redis.tell(&format!("XADD {LOG} 20-{} t 1700000000000 b other", u64::MAX));
        redis.tell("CLIENT KILL TYPE normal");
    })
    .await;
    until_head(&redis, "20").await;
    while last(&redis) != before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Has a log go on from its tenth batch, as others have settled it meanwhile, in another round.
fn settle_without_it(redis: &Server, head: &str, entries: &[(&str, &str)]) {
    let mut pipe = redis::pipe();
    pipe.atomic();
    for (place, batch) in entries {
        pipe.cmd("XADD").arg(&[LOG, place, "t", "1700000000000", "b", batch]);
    }
    pipe.cmd("HSET").arg(&[META, "head", head, "round", "5"]);
    let (last, batch) = entries.last().unwrap();
    pipe.publish(CHANNEL, format!("{last} 1700000000000 5 {batch}"));
    pipe.exec(&mut redis.connection()).unwrap();
}

/// The others waited a lease for it and forked the log. The next batch fits all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_misses_a_fork_is_lost() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 10).await;
    redis.tell(&format!("DEL {LOG}"));
    settle_without_it(&redis, "11", &[("10-7", FORK), ("11-7", "more")]);
    assert_eq!(next(&mut log).await, Event::Lost(LostReason::Forked));
}

/// It was away when the others put the log back, and had nothing that they hadn't.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_missed_nothing_goes_on() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 10).await;
    settle_without_it(&redis, "12", &[("11-7", FORK), ("12-7", "more")]);
    for (number, expected) in [(11, FORK), (12, "more")] {
        let event = next(&mut log).await;
        let is_it = |batch: &[u8]| batch == expected.as_bytes();
        assert!(
            matches!(&event, Event::Batch { cursor: Cursor(at), batch, .. } if *at == number && is_it(batch)),
            "{event:?}"
        );
    }
    log.append("own".into());
    let event = next(&mut log).await;
    assert!(matches!(event, Event::Batch { cursor: Cursor(13), .. }), "{event:?}");
}

/// The message may still be on its way when the log has been settled anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_a_loss_is_nothing_behind_it() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 10).await;
    let round: u64 = redis.ask(&format!("HGET {META} round"));
    redis.tell("FLUSHALL");
    assert_eq!(next(&mut log).await, Event::StateWanted);
    log.give_state(Cursor(10), vec!["x".into()]);
    let event = next(&mut log).await;
    assert!(matches!(event, Event::Batch { cursor: Cursor(11), .. }), "{event:?}");
    let stale = format!("12-7 1700000000000 {round} stale");
    redis::cmd("PUBLISH").arg(CHANNEL).arg(stale).exec(&mut redis.connection()).unwrap();
    log.append("more".into());
    let mut event = next(&mut log).await;
    while event == Event::AppendFailed {
        log.append("more".into());
        event = next(&mut log).await;
    }
    let is_it = |batch: &[u8]| batch == b"more";
    assert!(
        matches!(&event, Event::Batch { cursor: Cursor(12), batch, .. } if is_it(batch)),
        "{event:?}"
    );
}

async fn until_head(redis: &Server, head: &str) {
    while redis.ask::<Vec<String>>("HMGET test:{0.1967}:meta head") != [head] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
