//! Logs that are purged by hand, and logs that nodes trim.

use std::time::Duration;

use broker::engine::{Cursor, Engine, EngineSettings, Event, LostReason, PartitionLog};
use serde_json::{Value, json};

use crate::nats_server::NatsServer;
use crate::node::{Client, FORK, Node, State, Work, introduce, next, settings};
use crate::snapshots::{chunks, log_of};

/// Batches that a node appends which lacks nothing.
const COUNT: usize = 200;

/// Settings of a node that others know. Its snapshots needn't be the newest for long before the log is trimmed.
fn impatient(server: &NatsServer) -> EngineSettings {
    let mut settings = settings(&server.url(), 1);
    introduce(&server.url(), &settings.nodes);
    if let Engine::Nats(nats) = &mut settings.engine {
        nats.margin = Duration::ZERO;
    }
    settings
}

fn work(name: &'static str, count: usize, pause: u64) -> Work {
    Work { name, count, size: 0, pause: Duration::from_millis(pause) }
}

/// The log of a node that takes nothing more of it for now, behind some batches.
async fn paused(client: &mut Client, count: u64) -> PartitionLog {
    let mut log = log_of(client, count).await;
    log.append("the last".into());
    log
}

async fn purge(server: &NatsServer, request: &Value) {
    server.ask("STREAM.PURGE.test-0", request.clone()).await;
}

fn text(batch: &[u8]) -> String {
    String::from_utf8(batch.to_vec()).unwrap()
}

/// What a node is told from where it was paused on.
async fn rest(log: &mut PartitionLog, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        let event = next(log).await;
        if let Event::Batch { batch, .. } = event {
            told.push(text(&batch));
        } else {
            assert_eq!(event, Event::AppendFailed, "behind {told:?}");
        }
    }
    told
}

fn is_whole(state: &State) -> bool {
    state.lost.is_none() && !state.log.iter().any(|batch| batch == FORK)
}

/// How a log can be purged: all of it; but for some messages; but for what settled it; or in part, and that besides.
fn purges() -> [Value; 5] {
    let batches = "test.log.0";
    [
        json!({}),
        json!({ "keep": 5 }),
        json!({ "seq": COUNT }),
        json!({ "filter": batches }),
        json!({ "filter": batches, "seq": COUNT }),
    ]
}

/// It has read some, and others the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_paused_gets_what_is_purged() {
    for request in purges() {
        let server = NatsServer::start("");
        let mut client = Client::with(&impatient(&server)).await.unwrap();
        let mut log = paused(&mut client, 3).await;
        let node = Node::start_with(&impatient(&server), work("a", COUNT, 0)).await;
        node.until("all of its own", |state| state.own == COUNT).await;
        purge(&server, &request).await;
        let all = node.state().log;
        let told = rest(&mut log, all.len() - 3).await;
        assert_eq!(all.get(3..), Some(&*told), "{request}");
        assert!(is_whole(&node.state()), "{request}");
        log.append("more".into());
        node.until("told more", |state| state.log.last().unwrap() == "more").await;
        assert_eq!(rest(&mut log, 1).await, ["more"], "{request}");
    }
}

/// While it is put back, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_purged_twice() {
    for pause in [0, 50, 100, 200, 400, 1000] {
        let server = NatsServer::start("");
        let mut client = Client::with(&impatient(&server)).await.unwrap();
        let mut log = paused(&mut client, 3).await;
        let node = Node::start_with(&impatient(&server), work("a", COUNT, 0)).await;
        node.until("all of its own", |state| state.own == COUNT).await;
        purge(&server, &json!({})).await;
        let all = node.state().log;
        let (told, ()) = tokio::join!(rest(&mut log, all.len() - 3), async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            purge(&server, &json!({})).await;
        });
        assert_eq!(all.get(3..), Some(&*told), "{pause}");
        let late = Node::start_with(&impatient(&server), work("b", 20, 0)).await;
        late.until("all of its own", |state| state.own == 20).await;
        node.until("told more", |state| state.log.len() == all.len() + 20).await;
        assert!(is_whole(&node.state()), "{pause}");
    }
}

/// It has read on behind the snapshots.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_paused_gets_what_is_purged_of_a_trimmed_log() {
    for request in purges() {
        let server = NatsServer::start("");
        let node = Node::start_with(&impatient(&server), work("a", COUNT, 5)).await;
        node.until("on its way", |state| state.own >= 20).await;
        let mut client = Client::with(&impatient(&server)).await.unwrap();
        let mut log = client.take_log();
        trim(&log, &[10, 19, 20]).await;
        assert!(server.batches().await < node.state().own as u64, "it was trimmed");
        log.follow(Cursor(20));
        let mut told = Vec::new();
        let mut event = next(&mut log).await;
        while let Event::Batch { batch, .. } = event {
            told.push(text(&batch));
            event = next(&mut log).await;
        }
        assert_eq!(event, Event::CaughtUp);
        node.until("all of its own", |state| state.own == COUNT).await;
        purge(&server, &request).await;
        told.append(&mut rest(&mut log, COUNT - 20 - told.len()).await);
        assert_eq!(node.state().log.get(20..), Some(&*told), "{request}");
        assert!(is_whole(&node.state()), "{request}");
    }
}

async fn trim(log: &PartitionLog, snapshots: &[u64]) {
    for at in snapshots {
        log.write_snapshot(Cursor(*at), chunks("x", 1)).await.unwrap();
    }
}

/// It lacks what no purge has taken. The others go on as if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_what_was_trimmed_is_lost() {
    let server = NatsServer::start("");
    let mut client = Client::with(&impatient(&server)).await.unwrap();
    let mut log = log_of(&mut client, 3).await;
    let node = Node::start_with(&impatient(&server), work("a", COUNT, 0)).await;
    node.until("all of its own", |state| state.own == COUNT).await;
    trim(&log, &[150, 180, 200]).await;
    assert!(server.batches().await < 50, "it was trimmed");
    let length = server.stream("test-0").await.pointer("/state/last_seq").cloned();
    let mut event = next(&mut log).await;
    while let Event::Batch { cursor, .. } = event {
        assert!(cursor.0 < 180, "{cursor:?}");
        event = next(&mut log).await;
    }
    assert_eq!(event, Event::Lost(LostReason::Trimmed));
    tokio::time::sleep(Duration::from_secs(6)).await; // at rest, they look
    assert_eq!((node.state().put_back, node.state().lost), (0, None));
    let now = server.stream("test-0").await.pointer("/state/last_seq").cloned();
    assert_eq!(now, length, "nothing was said of it");
}

/// Without snapshots, who starts has to read the log from its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_at_rest_lacks_its_beginning() {
    for request in [json!({ "keep": 5 }), json!({ "filter": "test.log.0", "seq": 10 })] {
        let server = NatsServer::start("");
        let node = Node::start_with(&impatient(&server), work("a", 20, 0)).await;
        node.until("all of its own", |state| state.own == 20).await;
        purge(&server, &request).await;
        node.until("asked for its state", |state| state.put_back == 1).await;
        server.ask("STREAM.PURGE.test-snapshots", json!({})).await;
        node.until("asked for its state again", |state| state.put_back == 2).await;
        let late = Node::start_with(&impatient(&server), work("b", 20, 0)).await;
        late.until("all of its own", |state| state.own == 20).await;
        node.until("told more", |state| state.log.len() == 40).await;
        assert!(is_whole(&node.state()), "{request}");
    }
}
