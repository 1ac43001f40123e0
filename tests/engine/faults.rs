//! What connections and servers suffer while nodes append: all nodes are told one order.

use std::time::{Duration, Instant};

use crate::engines::{EngineServer, for_each_engine};
use crate::node::{Node, PATIENCE, agree};
use crate::server::Server;

/// Batches of each node.
const COUNT: usize = 1500;

for_each_engine!(the_server_is_paused, the_server_is_restarted_with_its_log);

/// Three nodes that append.
async fn nodes(server: &impl EngineServer) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(&server.url(), name, COUNT).await);
    }
    nodes
}

/// Does something again and again while they do, at least once; each time, one of them gets on first. A busy machine
/// needs longer than a pause to connect.
async fn nuisance(nodes: &[Node], pause: Duration, mut act: impl FnMut()) {
    let begun = Instant::now();
    let own = || nodes.iter().map(Node::own).sum::<usize>();
    loop {
        tokio::task::block_in_place(&mut act);
        let before = own();
        while own() == before && before < nodes.len() * COUNT {
            assert!(begun.elapsed() < 2 * PATIENCE, "they don't get on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if own() == nodes.len() * COUNT {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

const PAUSE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_killed() {
    let redis = Server::start(&[]);
    let nodes = nodes(&redis).await;
    nuisance(&nodes, PAUSE, || redis.tell("CLIENT KILL TYPE pubsub")).await;
    agree(&nodes, COUNT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_killed() {
    let redis = Server::start(&[]);
    let nodes = nodes(&redis).await;
    nuisance(&nodes, PAUSE, || redis.tell("CLIENT KILL TYPE normal")).await;
    agree(&nodes, COUNT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_forgotten() {
    let redis = Server::start(&[]);
    let nodes = nodes(&redis).await;
    nuisance(&nodes, Duration::from_millis(20), || redis.tell("SCRIPT FLUSH")).await;
    let states = agree(&nodes, COUNT).await;
    assert!(states.iter().all(|state| state.failed == 0), "{states:?}");
}

async fn the_server_is_paused<S: EngineServer>() {
    let server = S::launch();
    let nodes = nodes(&server).await;
    for pause in [500, 3000] {
        server.signal("STOP");
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.signal("CONT");
        tokio::time::sleep(PAUSE).await;
    }
    agree(&nodes, COUNT).await;
}

async fn the_server_is_restarted_with_its_log<S: EngineServer>() {
    let mut server = S::launch_durable();
    let nodes = nodes(&server).await;
    for _ in 0..3 {
        tokio::time::sleep(PAUSE).await;
        tokio::task::block_in_place(|| server.restart(PAUSE));
    }
    agree(&nodes, COUNT).await;
}

/// Each message is larger than what Redis lets wait for a subscriber, so it ends the connection.
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_too_large_for_subscribers() {
    let redis = Server::start(&["--client-output-buffer-limit", "pubsub", "64kb", "64kb", "1"]);
    let nodes = nodes(&redis).await;
    let before = subscribers(&redis);
    let large = Node::start_large(&redis.url(), "large", 5, 200_000).await;
    large.until("all of its own", |state| state.own == 5).await;
    agree(&nodes, COUNT).await;
    let after = subscribers(&redis);
    assert!(before.iter().all(|id| !after.contains(id)), "{before:?} {after:?}");
}

/// A batch comes without a message: whether the subscription is dead can't be known, so it is made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_dead_without_a_sign() {
    let redis = Server::start(&[]);
    let node = Node::start(&redis.url(), "a", 3).await;
    node.until("all of its own", |state| state.own == 3).await;
    let before = subscribers(&redis);
    redis.tell("XADD test:{0.1967}:log 4-4 t 1700000000000 b unsaid");
    redis.tell("HSET test:{0.1967}:meta head 4");
    let told = node.until("told all", |state| state.log.len() == 4).await;
    assert_eq!(told.log.last().unwrap(), "unsaid");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(subscribers(&redis), before);
}

/// The ids of the subscribed connections.
fn subscribers(redis: &Server) -> Vec<String> {
    let clients: String = redis.ask("CLIENT LIST TYPE pubsub");
    let id = |client: &str| client.split(' ').next().unwrap().to_owned();
    clients.lines().map(id).collect()
}
