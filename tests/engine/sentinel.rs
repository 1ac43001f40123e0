//! A primary with a replica and a Sentinel, which makes the replica the primary when that is gone.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use broker::engine::{Engine, EngineSettings, RedisSettings};
use tempfile::TempDir;

use crate::node::{Node, State, Work, agree, settings};
use crate::server::{Server, free_port};

/// Batches that each node appends, in all.
const COUNT: usize = 300;

/// A Sentinel that replaces the primary when that hasn't answered for half a second; killed when dropped.
struct Sentinel {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Sentinel {
    fn of(primary: &Server) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let file = folder.path().join("sentinel.conf");
        let primary = primary.port;
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor ours 127.0.0.1 {primary} 1"),
            "sentinel down-after-milliseconds ours 500".to_owned(),
            "sentinel failover-timeout ours 3000".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), port, _folder: folder }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn with(sentinel: &Sentinel) -> EngineSettings {
    let redis = RedisSettings::new("redis://ours", None).unwrap();
    // the first one isn't there, which holds nothing up
    let sentinels = format!("127.0.0.1:{},127.0.0.1:{}", free_port(), sentinel.port);
    let engine = Engine::Redis(redis.with_sentinels(&sentinels).unwrap());
    EngineSettings { engine, ..settings("redis://localhost", 1) }
}

/// Two nodes that append, until the primary is killed and the replica takes its place.
async fn fails_over(lose: impl FnOnce(&Server, &Server)) -> Vec<State> {
    let primary = Server::start(&[]);
    let at = primary.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &at]);
    while !replica.ask::<String>("INFO replication").contains("master_link_status:up") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sentinel = Sentinel::of(&primary);
    let settings = [with(&sentinel), with(&sentinel)];
    let members = Arc::new(settings.iter().map(|settings| settings.nodes.own).collect());
    let mut nodes = Vec::new();
    for (settings, name) in settings.iter().zip(["a", "b"]) {
        settings.nodes.set_members(&members);
        let work = Work { name, count: COUNT, size: 0, pause: Duration::from_millis(2) };
        nodes.push(Node::start_with(settings, work).await);
    }
    // the Sentinel learns of the replica from the primary
    let mut known = redis::cmd("SENTINEL");
    known.arg("replicas").arg("ours");
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", sentinel.port)).unwrap();
    while known
        .query::<Vec<redis::Value>>(&mut client.get_connection().unwrap())
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    nodes.first().unwrap().until("on its way", |state| state.own >= COUNT / 5).await;
    lose(&primary, &replica);
    nodes.first().unwrap().until("further", |state| state.own >= COUNT / 3).await;
    drop(primary);
    tokio::time::sleep(Duration::from_millis(100)).await;
    replica.signal("CONT");
    agree(&nodes, COUNT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over() {
    fails_over(|_, _| ()).await;
}

/// The newest batches hadn't reached it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_that_is_behind() {
    let lose = |primary: &Server, replica: &Server| {
        replica.signal("STOP");
        primary.tell("CLIENT KILL TYPE replica");
    };
    let states = fails_over(lose).await;
    assert!(states.iter().any(|state| state.put_back > 0), "nothing was lost");
}
