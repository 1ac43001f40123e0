//! A node in whose cluster a newer version has written: it serves nobody, and waits to be replaced.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use broker::cluster::{Batch, Item, KnownRules, Rules};
use broker::log::{LogId, NodeId};
use broker::node::LogEncoding;
use bytes::Bytes;

use crate::engines::for_each_engine;
use crate::process::Broker;
use crate::secret::{Intruder, flags, is_current, metric, skipped};

for_each_engine!(a_node_stops_where_the_rules_are_newer_than_it, a_newer_format_is_no_garbage);

/// A partition in which nothing happens otherwise.
const PARTITION: u16 = 5;

/// The rules that a log has when all nodes are of this version.
const OWN: Rules = KnownRules::OWN.newest;

/// What a node of this version says of the next ones.
fn sentence() -> String {
    format!("a newer version has raised the rules to {}: update this node", OWN.next().0)
}

/// Waits until a node's logs have the rules of this version.
pub(crate) fn has_own_rules(node: &mut Broker) {
    let own = u64::from(OWN.0);
    node.until("its rules", |node| metric(node, "broker_cluster_rules") == own);
}

/// The rules are raised, by a node that knows newer ones.
fn raise(partition: u16) -> Bytes {
    let (rules, node, items) = (OWN, NodeId(77), vec![Item::Rules(OWN.next())]);
    let batch = Batch { rules, node, incarnation: 1, number: 1, items };
    LogEncoding::of(None, partition, LogId(0)).encode(&batch)
}

/// What is written by the next rules.
fn next_rules() -> Bytes {
    let batch =
        Batch { rules: OWN.next(), node: NodeId(77), incarnation: 1, number: 2, items: Vec::new() };
    LogEncoding::of(None, PARTITION, LogId(0)).encode(&batch)
}

fn start<S: Intruder>(server: &S) -> Broker {
    Broker::start(&flags::<S>(&server.url(), &[]))
}

/// A client's connection, over which nothing is said.
fn connect(broker: &Broker) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    let head = "GET /cable HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    socket
}

/// Waits until a node serves nobody, and says why, once.
fn is_outdated(node: &mut Broker, sentence: &str) {
    node.until("outdated", |node| node.status("/health") == 503 && node.log().contains(sentence));
    assert_eq!(node.get("/health"), (503, r#"{"status":"outdated"}"#.to_owned()));
    assert_eq!(node.status("/live"), 200);
    assert_eq!(metric(node, "broker_cluster_state{state=\"outdated\"}"), 1);
    assert_eq!(node.log().matches("update this node").count(), 1, "{}", node.log());
}

fn stops(mut node: Broker) {
    node.signal("TERM");
    assert_eq!(node.wait(Duration::from_secs(10)), Some(0), "{}", node.log());
}

async fn a_node_stops_where_the_rules_are_newer_than_it<S: Intruder>() {
    let server = S::launch();
    let mut first = start(&server);
    is_current(&mut first);
    has_own_rules(&mut first);
    let mut client = connect(&first);
    server.append(0, raise(0)).await; // void: not all members know them
    server.append(0, raise(0)).await;
    first.until("read", |node| skipped(node, "again") == 1);
    assert_eq!(
        (first.status("/health"), metric(&first, "broker_cluster_rules")),
        (200, u64::from(OWN.0))
    );
    server.append(PARTITION, raise(PARTITION)).await; // as if that had been decided
    is_outdated(&mut first, &sentence());
    client.read_to_end(&mut Vec::new()).unwrap();
    let mut late = start(&server);
    is_outdated(&mut late, &sentence());
    let before = server.entries(0).await.len();
    tokio::time::sleep(Duration::from_secs(1)).await; // longer than between two beats
    assert_eq!(server.entries(0).await.len(), before, "they append no more");
    stops(first);
    stops(late);
}

async fn a_newer_format_is_no_garbage<S: Intruder>() {
    let server = S::launch();
    let mut node = start(&server);
    is_current(&mut node);
    for garbage in ["", "brk", "\u{9} of another version", "xyz\u{9}"] {
        server.append(0, garbage.into()).await;
    }
    node.until("skipped", |node| skipped(node, "unreadable") == 4);
    assert_eq!(node.status("/health"), 200);
    server.append(PARTITION, "brk\u{9} of another version".into()).await;
    is_outdated(&mut node, "a newer version has written the format 9: update this node");
    stops(node);
    let server = S::launch();
    let mut node = start(&server);
    is_current(&mut node);
    has_own_rules(&mut node);
    server.append(PARTITION, next_rules()).await;
    is_outdated(&mut node, &sentence());
}
