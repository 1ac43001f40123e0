//! Nodes with a secret, on an engine in which somebody else writes, too.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::auth::ClusterSecret;
use broker::cluster::ForkId;
use broker::log::LogId;
use broker::node::LogEncoding;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::engines::{EngineServer, for_each_engine};
use crate::nats_server::NatsServer;
use crate::node::PATIENCE;
use crate::process::{Broker, command};
use crate::rules::has_own_rules;
use crate::server::Server;

for_each_engine!(
    what_no_node_wrote_there_is_skipped_by_all,
    a_snapshot_that_was_altered_is_refused,
    a_node_with_another_secret_is_refused,
);

const SECRET: &str = "s3cret";

/// Somebody who can write to the engine, and knows how nodes do.
pub(crate) trait Intruder: EngineServer {
    /// The flag with its address.
    const FLAG: &str;
    /// What nodes have appended to a partition's log.
    async fn entries(&self, partition: u16) -> Vec<Bytes>;
    async fn append(&self, partition: u16, entry: Bytes);
    /// Replaces the first chunk of a partition's snapshot, if there is one; returns what it was.
    async fn replace_chunk(&self, partition: u16, by: impl Fn(&[u8]) -> Vec<u8>) -> Option<Bytes>;
}

impl Intruder for Server {
    const FLAG: &str = "--redis-url";

    async fn entries(&self, partition: u16) -> Vec<Bytes> {
        let Some(prefix) = self.prefix("broker", partition) else { return Vec::new() };
        let entries: Vec<(String, Vec<Vec<u8>>)> = self.ask(&format!("XRANGE {prefix}:log - +"));
        entries.into_iter().map(|(_, mut fields)| fields.remove(3).into()).collect()
    }

    async fn append(&self, partition: u16, entry: Bytes) {
        const APPEND: &str = "\
            local head = redis.call('HINCRBY', KEYS[1], 'head', 1)\n\
            redis.call('XADD', KEYS[2], head .. '-7', 't', '1700000000000', 'b', ARGV[1])";
        let prefix = self.prefix("broker", partition).unwrap();
        let mut append = redis::cmd("EVAL");
        append.arg(APPEND).arg(2).arg(format!("{prefix}:meta")).arg(format!("{prefix}:log"));
        append.arg(&entry[..]).exec(&mut self.connection()).unwrap();
    }

    async fn replace_chunk(&self, partition: u16, by: impl Fn(&[u8]) -> Vec<u8>) -> Option<Bytes> {
        let prefix = self.prefix("broker", partition)?;
        let name: Option<String> = self.ask(&format!("HGET {prefix}:meta snap"));
        let key = format!("{prefix}:snap:{}", name?);
        let chunk: Vec<u8> = self.ask(&format!("LINDEX {key} 0"));
        let mut set = redis::cmd("LSET");
        set.arg(key).arg(0).arg(by(&chunk)).exec(&mut self.connection()).unwrap();
        Some(chunk.into())
    }
}

/// Bytes of a message before its batch.
const HEADER: usize = 17;

impl NatsServer {
    async fn message(&self, stream: &str, which: Value) -> Option<Vec<u8>> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let answer = self.client().await.request(subject, which.to_string().into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        STANDARD.decode(answer.pointer("/message/data")?.as_str()?).ok()
    }

    /// Stores a message; its sequence number.
    async fn store(&self, subject: String, payload: Vec<u8>) -> u64 {
        let answer = self.client().await.request(subject, payload.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        answer.get("seq").and_then(Value::as_u64).unwrap()
    }

    async fn messages(&self, partition: u16) -> Vec<Vec<u8>> {
        let (mut messages, stream) = (Vec::new(), format!("broker-{partition}"));
        for sequence in 1..=self.length(&stream).await {
            messages.push(self.message(&stream, json!({ "seq": sequence })).await.unwrap());
        }
        messages.retain(|message| message.first() == Some(&1)); // others are settlements
        messages
    }
}

impl Intruder for NatsServer {
    const FLAG: &str = "--nats-servers";

    async fn entries(&self, partition: u16) -> Vec<Bytes> {
        let messages = self.messages(partition).await;
        messages.into_iter().map(|mut message| message.split_off(HEADER).into()).collect()
    }

    async fn append(&self, partition: u16, entry: Bytes) {
        let description = self.stream(&format!("broker-{partition}")).await;
        let description = description.pointer("/config/description").unwrap().as_str().unwrap();
        let log: u64 = description.rsplit(' ').next().unwrap().parse().unwrap();
        let message = [&[1], &log.to_be_bytes()[..], &7_u64.to_be_bytes(), &entry].concat();
        self.store(format!("broker.log.{partition}"), message).await;
    }

    async fn replace_chunk(&self, partition: u16, by: impl Fn(&[u8]) -> Vec<u8>) -> Option<Bytes> {
        const STORE: &str = "broker-snapshots";
        let subject = format!("broker.snapshots.{partition}");
        let manifest = self.message(STORE, json!({ "last_by_subj": subject })).await?;
        let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let part = manifest.pointer("/chunks/0/0").unwrap().clone();
        let chunk = self.message(STORE, json!({ "seq": part })).await.unwrap();
        let name = manifest.get("name").unwrap().as_str().unwrap();
        let altered = self.store(format!("broker.parts.{partition}.{name}"), by(&chunk)).await;
        *manifest.pointer_mut("/chunks/0/0").unwrap() = altered.into();
        self.store(subject, manifest.to_string().into_bytes()).await;
        Some(chunk.into())
    }
}

pub(crate) fn flags<'a, S: Intruder>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[S::FLAG, url, "--node-lease", "1s"], more].concat()
}

/// Starts a node with the secret.
fn start<S: Intruder>(server: &S) -> Broker {
    Broker::start(&flags::<S>(&server.url(), &["--cluster-secret", SECRET]))
}

pub(crate) fn is_current(broker: &mut Broker) {
    broker.until("up to date", |broker| broker.status("/health") == 200);
}

/// What a metric is at a node.
pub(crate) fn metric(broker: &Broker, name: &str) -> u64 {
    let (_, metrics) = broker.get("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

pub(crate) fn skipped(broker: &Broker, reason: &str) -> u64 {
    metric(broker, &format!("broker_cluster_refused_batches_total{{reason=\"{reason}\"}}"))
}

fn put(broker: &Broker, id: &str, size: usize) {
    let body = json!({ "info": "x".repeat(size) }).to_string();
    let head = format!(
        "PUT /api/presence/lobby/{id} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    socket.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

fn users(broker: &Broker) -> String {
    broker.get("/api/presence/lobby/users").1
}

/// Of another secret, and of none.
fn forged() -> impl Iterator<Item = Bytes> {
    let guess = ClusterSecret::new("guess", "broker");
    [Some(guess), None]
        .into_iter()
        .map(|secret| LogEncoding::of(secret.as_ref(), 0, LogId(1)).encode_fork(ForkId(7)))
}

async fn what_no_node_wrote_there_is_skipped_by_all<S: Intruder>() {
    let server = S::launch();
    let mut first = start(&server);
    is_current(&mut first);
    put(&first, "ann", 1);
    has_own_rules(&mut first);
    let before = server.entries(0).await.len();
    let beat = loop {
        let entries = server.entries(0).await;
        if let Some(beat) = entries.get(before) {
            break beat.clone(); // by the rules that are in force from now on
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (mut altered, mut expected) = (beat.to_vec(), 0);
    *altered.get_mut(10).unwrap() ^= 1;
    let cut = beat.slice(..beat.len() - 1);
    for entry in forged().chain([altered.into(), cut, "garbage".into(), Bytes::new()]) {
        server.append(0, entry).await;
        expected += 1;
    }
    server.append(7, beat.clone()).await; // moved
    expected += 1;
    server.append(0, beat.clone()).await; // repeated: it was written there
    first.until("all skipped", |node| skipped(node, "forged") == expected);
    first.until("the repeated one skipped", |node| skipped(node, "again") == 1);
    put(&first, "bob", 1);
    let mut second = start(&server);
    is_current(&mut second);
    put(&second, "cem", 1);
    for node in [&mut first, &mut second] {
        node.until("all there", |node| {
            ["ann", "bob", "cem"].iter().all(|id| users(node).contains(id))
        });
        assert_eq!((skipped(node, "forged"), skipped(node, "unreadable")), (expected, 0));
        assert_eq!(metric(node, "broker_cluster_forks_total"), 0);
        let lines = node.log().lines().filter(|line| line.contains("batch skipped")).count();
        assert!((1..=2).contains(&lines), "{}", node.log());
    }
    assert_eq!(users(&first), users(&second));
}

async fn a_snapshot_that_was_altered_is_refused<S: Intruder>() {
    let server = S::launch();
    let mut first = start(&server);
    is_current(&mut first);
    for number in 0..100 {
        put(&first, &format!("guest-{number}"), 4000);
    }
    let altered = |chunk: &[u8]| {
        let mut chunk = chunk.to_vec();
        *chunk.get_mut(100).unwrap() ^= 1;
        chunk
    };
    let begun = Instant::now();
    let (partition, chunk) = 'found: loop {
        for partition in 0..64 {
            if let Some(chunk) = server.replace_chunk(partition, altered).await {
                break 'found (partition, chunk);
            }
        }
        assert!(begun.elapsed() < PATIENCE, "no snapshot");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let mut second = start(&server);
    second.until("refused", |node| node.log().contains("snapshot refused"));
    assert_eq!((second.status("/health"), second.status("/live")), (503, 200));
    server.replace_chunk(partition, |_| chunk.to_vec()).await.unwrap();
    is_current(&mut second);
    assert_eq!(users(&first), users(&second));
    assert!(users(&second).contains("guest-99"));
}

async fn a_node_with_another_secret_is_refused<S: Intruder>() {
    let server = S::launch();
    let url = server.url();
    let refused = |more: &[&str]| {
        let run = command(&["--port", "0"]).args(flags::<S>(&url, more)).output().unwrap();
        let log = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(2), "{log}");
        log.lines().find_map(|line| line.strip_prefix("broker: ")).unwrap_or(&log).to_owned()
    };
    is_current(&mut start(&server));
    for (more, sentence) in [
        (
            &["--cluster-secret", "other"][..],
            "the cluster broker has another secret than this node: give it the --cluster-secret of the other nodes, or \
             another cluster's name",
        ),
        (
            &[],
            "the cluster broker has a secret, and this node has none: give it the --cluster-secret of the other nodes, \
             or another cluster's name",
        ),
    ] {
        assert_eq!(refused(more), sentence);
    }
    let mut open = Broker::start(&flags::<S>(&url, &["--cluster-name", "open"]));
    is_current(&mut open);
    assert_eq!(
        refused(&["--cluster-secret", SECRET, "--cluster-name", "open"]),
        "the cluster open has no secret, and this node has one: start it without --cluster-secret, or with another \
         cluster's name"
    );
}

/// What nodes put back, and that something may be missing, is theirs as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_redis_loses_is_put_back() {
    let server = Server::launch();
    let (mut first, mut second) = (start(&server), start(&server));
    is_current(&mut first);
    is_current(&mut second);
    put(&first, "ann", 1);
    first.until("two", |node| metric(node, "broker_cluster_members") == 2);
    drop(second); // it may have had more
    server.tell("FLUSHALL");
    first.until("a fork", |node| metric(node, "broker_cluster_forks_total") == 64);
    let mut third = start(&server);
    is_current(&mut third);
    for node in [&first, &third] {
        assert!(users(node).contains("ann"));
        assert_eq!((skipped(node, "forged"), skipped(node, "unreadable")), (0, 0));
    }
}
