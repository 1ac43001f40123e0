//! A cluster of three NATS servers, of which one ends.

use std::time::{Duration, Instant};

use broker::engine::{Engine, EngineSettings, NatsSettings, NatsStorage};
use serde_json::{Value, json};

use crate::nats_server::{JETSTREAM, NatsServer};
use crate::node::{Node, Work, agree, settings};
use crate::server::free_port;

/// Batches that each node appends.
const COUNT: usize = 300;

/// Servers that know each other.
async fn servers() -> Vec<NatsServer> {
    let ports = [(); 3].map(|()| free_port());
    let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
    let mut servers = Vec::new();
    for (number, port) in ports.into_iter().enumerate() {
        let cluster =
            format!("cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
        let settings = format!("{JETSTREAM}\nserver_name: s{number}\n{cluster}");
        servers.push(NatsServer::start_at(free_port(), &settings));
    }
    let begun = Instant::now();
    while !is_ready(&servers).await {
        assert!(begun.elapsed() < Duration::from_secs(30), "the servers don't find each other");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    servers
}

/// Whether streams can have three replicas.
async fn is_ready(servers: &[NatsServer]) -> bool {
    let Some(server) = servers.first() else { return false };
    let config =
        json!({ "name": "try", "subjects": ["try"], "num_replicas": 3, "storage": "memory" });
    let client = server.client().await;
    let created = client.request("$JS.API.STREAM.CREATE.try", config.to_string().into()).await;
    let Ok(created) = created else { return false };
    let created: Value = serde_json::from_slice(&created.payload).unwrap();
    created.get("error").is_none()
}

/// Settings of nodes that know all servers, and each other.
fn nodes<const COUNT: usize>(
    servers: &[NatsServer],
    partitions: usize,
    replicas: u8,
) -> [EngineSettings; COUNT] {
    let urls: Vec<_> = servers.iter().map(NatsServer::url).collect();
    let first = urls.first().unwrap();
    let all = [(); COUNT].map(|()| {
        let addresses = urls.iter().map(String::as_str);
        let mut nats = NatsSettings::new(addresses, NatsStorage::Memory).unwrap();
        (nats.replicas, nats.patience) = (replicas, Duration::ZERO);
        EngineSettings {
            engine: Engine::Nats(nats),
            ..settings(first, u16::try_from(partitions).unwrap())
        }
    });
    let members = std::sync::Arc::new(all.iter().map(|settings| settings.nodes.own).collect());
    for settings in &all {
        settings.nodes.set_members(&members);
    }
    all
}

/// The server that leads a stream, as its number.
async fn leader(servers: &[NatsServer], stream: &str) -> usize {
    let info = servers.first().unwrap().stream(stream).await;
    let name = info.pointer("/cluster/leader").and_then(Value::as_str).unwrap();
    name.strip_prefix('s').unwrap().parse().unwrap()
}

/// Nodes that append while the server that has the log, or leads it, is killed and comes back.
async fn the_server_with_the_log_ends(replicas: u8) -> usize {
    let mut servers = servers().await;
    let mut appending = Vec::new();
    for (name, settings) in ["a", "b", "c"].into_iter().zip(nodes::<3>(&servers, 1, replicas)) {
        let pause = Duration::from_millis(2);
        let work = Work { name, count: COUNT, size: 0, pause };
        appending.push(Node::start_with(&settings, work).await);
    }
    appending.first().unwrap().until("on its way", |state| state.own >= COUNT / 5).await;
    let at = leader(&servers, "test-0").await;
    let server = servers.get_mut(at).unwrap();
    server.kill();
    if replicas == 1 {
        tokio::task::block_in_place(|| server.begin());
    }
    let states = agree(&appending, COUNT).await;
    states.iter().map(|state| state.put_back).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_replicas_the_log_goes_on_when_its_leader_ends() {
    assert_eq!(the_server_with_the_log_ends(3).await, 0, "nothing is lost");
}

/// JetStream chooses a server for each consumer, and may choose one that has ended.
#[tokio::test(flavor = "multi_thread")]
async fn all_partitions_go_on_when_a_server_ends() {
    const PARTITIONS: usize = 16;
    let mut servers = servers().await;
    let all: Vec<_> = (0..PARTITIONS).collect();
    let mut appending = Vec::new();
    for (name, settings) in ["a", "b"].into_iter().zip(nodes::<2>(&servers, PARTITIONS, 3)) {
        let pause = Duration::from_millis(20);
        let work = Work { name, count: COUNT, size: 0, pause };
        appending.push(Node::start_at(&settings, &all, work).await);
    }
    for node in appending.iter().flatten() {
        node.until("on its way", |state| state.own >= COUNT / 5).await;
    }
    servers.remove(0).kill();
    let (b, a) = (appending.pop().unwrap(), appending.pop().unwrap());
    for (one, other) in a.into_iter().zip(b) {
        let states = agree(&[one, other], COUNT).await;
        assert!(states.iter().all(|state| state.put_back == 0), "nothing is lost");
    }
}

/// Nodes may be connected to another server: what they see is a stream that is empty.
#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_the_nodes_put_back_what_its_server_has_lost() {
    assert!(the_server_with_the_log_ends(1).await > 0);
}
