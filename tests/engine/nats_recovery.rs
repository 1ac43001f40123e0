//! Logs of which NATS loses a part: the nodes put it back.

use std::sync::Arc;
use std::time::Duration;

use broker::engine::{Cursor, Engine, EngineSettings, Event, LostReason, PartitionLog};
use bytes::Bytes;
use serde_json::json;

use crate::nats_server::NatsServer;
use crate::node::{Client, FORK, Node, State, Work, agree, next, settings};
use crate::tunnel::Tunnel;

/// Batches that each node appends, in all.
const COUNT: usize = 300;

/// Nodes that append, while something happens to the log again and again. They must be told the same, and all of it.
async fn while_three_append(
    mut server: NatsServer,
    act: impl AsyncFn(&mut NatsServer),
) -> Vec<State> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start_slow(&server.url(), name, COUNT, Duration::from_millis(2)).await);
    }
    for share in 1..=3 {
        nodes.first().unwrap().until("on its way", |state| state.own >= share * COUNT / 5).await;
        act(&mut server).await;
    }
    let states = agree(&nodes, COUNT).await;
    assert!(states.iter().all(|state| !state.log.iter().any(|it| it == FORK)), "{states:?}");
    tokio::time::sleep(Duration::from_secs(3)).await; // at rest, they look
    nodes.iter().map(Node::state).collect()
}

fn put_back(states: &[State]) -> usize {
    states.iter().map(|state| state.put_back).sum()
}

async fn delete(server: &NatsServer, streams: &[&str]) {
    for stream in streams {
        server.ask(&format!("STREAM.DELETE.{stream}"), json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_empty() {
    let restart = async |server: &mut NatsServer| {
        tokio::task::block_in_place(|| server.restart(Duration::from_millis(100)));
    };
    let states = while_three_append(NatsServer::start(""), restart).await;
    assert!(put_back(&states) >= 3, "{states:?}");
}

/// Also before the nodes have put back what it had lost before.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_empty_again_and_again() {
    let restart = async |server: &mut NatsServer| {
        for pause in [50, 100, 150, 250, 400] {
            tokio::task::block_in_place(|| server.restart(Duration::ZERO));
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    };
    let states = while_three_append(NatsServer::start(""), restart).await;
    assert!(put_back(&states) >= 3, "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_are_deleted() {
    for streams in [&["test-0"][..], &["test-snapshots", "test-0"]] {
        let delete = async |server: &mut NatsServer| delete(server, streams).await;
        let states = while_three_append(NatsServer::start(""), delete).await;
        assert!(put_back(&states) >= 3, "{states:?}");
    }
}

/// While it is purged, more is appended.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_purged() {
    let purge = async |server: &mut NatsServer| {
        server.ask("STREAM.PURGE.test-0", json!({})).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let states = while_three_append(NatsServer::start(""), purge).await;
    assert!(put_back(&states) > 0, "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_with_an_older_state() {
    let go_back = async |server: &mut NatsServer| {
        tokio::task::block_in_place(|| server.save());
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::task::block_in_place(|| server.restart_with_saved());
    };
    let states = while_three_append(NatsServer::start_durable(), go_back).await;
    assert!(put_back(&states) > 0, "{states:?}");
}

/// Nothing is lost, which has to be found out.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_comes_back_with_everything() {
    let restart = async |server: &mut NatsServer| {
        tokio::task::block_in_place(|| server.restart(Duration::from_millis(100)));
    };
    let states = while_three_append(NatsServer::start_durable(), restart).await;
    assert_eq!(put_back(&states), 0);
}

/// A node that was told 20 batches, then something happens to the log.
async fn after_20(act: impl AsyncFnOnce(&NatsServer)) -> (NatsServer, Node) {
    let server = NatsServer::start("");
    let node = Node::start(&server.url(), "a", 20).await;
    node.until("told 20", |state| state.log.len() == 20).await;
    act(&server).await;
    node.until("asked for its state", |state| state.put_back == 1).await;
    (server, node)
}

/// Without anything to append, the nodes find out.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_at_rest_is_purged() {
    for request in [json!({}), json!({ "filter": "test.log.0" })] {
        let purge = async |server: &NatsServer| {
            server.ask("STREAM.PURGE.test-0", request.clone()).await;
        };
        let (_server, node) = after_20(purge).await;
        assert_eq!(node.state().lost, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_before_the_nodes_know_of_a_loss_waits_for_them() {
    let server = NatsServer::start("");
    let node = Node::start(&server.url(), "a", 20).await;
    node.until("told 20", |state| state.log.len() == 20).await;
    server.ask("STREAM.PURGE.test-0", json!({})).await;
    begins_behind(&server, &node, 20).await;
}

/// Without snapshots, who starts has to read the log from its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_deleted_that_are_needed() {
    let (server, node) = after_20(async |server| delete(server, &["test-0"]).await).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    delete(&server, &["test-snapshots"]).await;
    node.until("asked for its state again", |state| state.put_back == 2).await;
    begins_behind(&server, &node, 20).await;
}

/// Who starts has the state that was put back, and what comes behind it.
async fn begins_behind(server: &NatsServer, node: &Node, count: usize) {
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = client.take_log();
    let (cursor, chunks) = log.read_snapshot().await.unwrap().unwrap();
    assert_eq!((cursor, chunks), (Cursor(count as u64), vec![node.state().log.join("\n").into()]));
    log.follow(cursor);
    assert_eq!(next(&mut log).await, Event::CaughtUp);
    log.append("more".into());
    assert!(matches!(next(&mut log).await, Event::Batch { batch, .. } if batch == "more"));
    let told = |state: &State| state.log.len() == count + 1 && state.lost.is_none();
    node.until("told more", told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_afterwards_begins_with_what_was_put_back() {
    let (server, node) = after_20(async |server| delete(server, &["test-0"]).await).await;
    begins_behind(&server, &node, 20).await;
}

/// A snapshot of the branch that is over isn't read any more, however new it is.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_from_before_do_not_count() {
    let (server, node) = after_20(async |server| {
        let mut client = Client::connect(&server.url(), 1).await.unwrap();
        let log = client.take_log();
        log.write_snapshot(Cursor(20), vec![Bytes::from_static(b"of before")]).await.unwrap();
        delete(server, &["test-0"]).await;
    })
    .await;
    begins_behind(&server, &node, 20).await;
}

/// A node that doesn't come back within the lease may have had more.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_forks_if_a_node_is_missing() {
    let mut server = NatsServer::start("");
    let node = Node::start(&server.url(), "a", 20).await;
    let gone = Node::start(&server.url(), "b", 20).await;
    gone.until("told 40", |state| state.log.len() == 40).await;
    drop(gone);
    tokio::task::block_in_place(|| server.restart(Duration::ZERO));
    let state = node.until("told of a fork", |state| state.log.len() == 41).await;
    assert_eq!((state.log.last().unwrap().as_str(), state.put_back), (FORK, 1));
    assert!(state.cursor > 1000, "what the other may have had is left out: {}", state.cursor);
    begins_behind_fork(&server, &node).await;
}

/// A node that starts gets the fork, too, and then the same batches as the others.
async fn begins_behind_fork(server: &NatsServer, node: &Node) {
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut log = client.take_log();
    let (cursor, _) = log.read_snapshot().await.unwrap().unwrap();
    assert_eq!(cursor, Cursor(40));
    log.follow(cursor);
    let fork = node.state().cursor;
    let event = next(&mut log).await;
    assert!(
        matches!(&event, Event::Batch { cursor, batch, .. } if cursor.0 == fork && batch == FORK),
        "{event:?}"
    );
}

/// Nodes that know each other.
fn acquainted<const COUNT: usize>(urls: [String; COUNT]) -> [EngineSettings; COUNT] {
    let all = urls.map(|url| settings(&url, 1));
    let members = Arc::new(all.iter().map(|settings| settings.nodes.own).collect());
    for settings in &all {
        settings.nodes.set_members(&members);
    }
    all
}

const fn work(name: &'static str, count: usize) -> Work {
    Work { name, count, size: 0, pause: Duration::from_millis(2) }
}

/// Takes batches of a log.
async fn take(log: &mut PartitionLog, count: usize) {
    for _ in 0..count {
        while !matches!(next(log).await, Event::Batch { .. }) {}
    }
}

/// It ends before it has stored anything that counts; or when its settlement is stored, and the run hasn't begun.
#[tokio::test(flavor = "multi_thread")]
async fn the_node_that_puts_back_is_killed_on_the_way() {
    for is_settlement_stored in [false, true] {
        let mut server = NatsServer::start("");
        let [c, a, b] = acquainted([server.url(), server.url(), server.url()]);
        let mut client = Client::with(&c).await.unwrap();
        let (mut log, id) = (client.take_log(), client.opened.log_ids[0].0);
        log.follow(Cursor(0));
        let a = Node::start_with(&a, work("a", 20)).await;
        let b = Node::start_with(&b, work("b", 20)).await;
        take(&mut log, 40).await;
        for node in [&a, &b] {
            node.until("told 40", |state| state.log.len() == 40).await;
        }
        tokio::task::block_in_place(|| server.restart(Duration::from_millis(100)));
        assert_eq!(next(&mut log).await, Event::StateWanted, "of those that have most, the first");
        drop((log, client));
        if is_settlement_stored {
            let put_back = json!({ "at": 5, "chunks": [[1]], "recent": [2] });
            let settlement = json!({
                "log": id, "round": 7, "run": 5, "branch": { "name": 5, "sequence": 0, "cursor": 5 },
                "kind": { "Begins": { "put_back": put_back, "fork": [] } },
            });
            let settlement = settlement.to_string().into();
            server.client().await.request("test.settled.0", settlement).await.unwrap();
        }
        a.until("told of a fork", |state| state.log.len() == 41).await;
        let late = Node::start_with(&settings(&server.url(), 1), work("late", 20)).await;
        late.until("all of its own", |state| state.own == 20).await;
        let told = async |node: &Node| node.until("told more", |it| it.log.len() == 61).await.log;
        assert_eq!(told(&a).await, told(&b).await);
    }
}

/// Neither knows of the other, so they wait for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_settle_the_log_at_the_same_time() {
    for _ in 0..5 {
        let mut server = NatsServer::start("");
        let [[a], [b]] = [acquainted([server.url()]), acquainted([server.url()])];
        let a = Node::start_with(&a, work("a", 20)).await;
        let b = Node::start_with(&b, work("b", 20)).await;
        for node in [&a, &b] {
            node.until("told all", |state| state.log.len() == 40).await;
        }
        tokio::task::block_in_place(|| server.restart(Duration::ZERO));
        let both = || a.state().put_back + b.state().put_back;
        while both() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let late = Node::start_with(&settings(&server.url(), 1), work("late", 20)).await;
        late.until("all of its own", |state| state.own == 20).await;
        let told = async |node: &Node| node.until("told more", |it| it.log.len() == 60).await.log;
        assert_eq!(told(&a).await, told(&b).await);
    }
}

/// What it had that the others hadn't is no part of the log any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_and_has_more_ends() {
    let mut server = NatsServer::start_durable();
    let (near, far) = (Tunnel::to(server.port).await, Tunnel::to(server.port).await);
    let url = |tunnel: &Tunnel| format!("file+nats://127.0.0.1:{}", tunnel.port);
    let [a, b] = acquainted([url(&near), url(&far)]);
    let a = Node::start_with(&a, work("a", 10)).await;
    a.until("all of its own", |state| state.own == 10).await;
    tokio::task::block_in_place(|| server.save());
    near.shut();
    let b = Node::start_with(&b, work("b", 10)).await;
    b.until("told 20", |state| state.log.len() == 20).await;
    far.shut();
    tokio::task::block_in_place(|| server.restart_with_saved());
    near.open();
    let state = a.until("told of a fork", |state| state.log.len() == 11).await;
    assert_eq!((state.log.last().unwrap().as_str(), state.put_back), (FORK, 0));
    far.open();
    let lost = b.until("lost", |state| state.lost.is_some()).await.lost.unwrap();
    assert!([LostReason::Shorter, LostReason::Forked].contains(&lost), "{lost}");
    assert_eq!(a.state().lost, None);
}

/// A node that is back late goes on, if what it had is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_and_has_less_goes_on() {
    let mut server = NatsServer::start("");
    let far = Tunnel::to(server.port).await;
    let [a, b] = acquainted([server.url(), format!("nats://127.0.0.1:{}", far.port)]);
    let a = Node::start_with(&a, work("a", 200)).await;
    let b = Node::start_with(&b, work("b", 20)).await;
    b.until("all of its own", |state| state.own == 20).await;
    far.shut();
    a.until("all of its own", |state| state.own == 200).await;
    tokio::task::block_in_place(|| server.restart(Duration::ZERO));
    a.until("told of a fork", |state| state.log.len() == 221).await;
    far.open();
    let told = b.until("told all", |state| state.log.len() == 221).await;
    assert_eq!(told.log, a.state().log);
    assert_eq!(told.lost, None);
}

/// A node that starts when the log is away waits for those that have it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_meanwhile_waits_for_the_others() {
    let mut server = NatsServer::start("");
    let far = Tunnel::to(server.port).await;
    let [a] = acquainted([format!("nats://127.0.0.1:{}", far.port)]);
    let a = Node::start_with(&a, work("a", 20)).await;
    a.until("all of its own", |state| state.own == 20).await;
    far.shut();
    tokio::task::block_in_place(|| server.restart(Duration::ZERO));
    let mut late = settings(&server.url(), 1);
    if let Engine::Nats(nats) = &mut late.engine {
        nats.patience = Duration::from_secs(5);
    }
    let late = tokio::spawn(async move { Client::with(&late).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    far.open();
    let mut late = late.await.unwrap();
    let mut log = late.take_log();
    let (cursor, _) = log.read_snapshot().await.unwrap().unwrap();
    assert_eq!(cursor, Cursor(20));
    log.follow(cursor);
    assert_eq!(next(&mut log).await, Event::CaughtUp);
}
