//! Nodes on a Redis Cluster: each partition is on one of its masters, and goes on there for itself.

use std::process::Command;
use std::time::Duration;

use broker::engine::{Engine, EngineSettings, RedisSettings};

use crate::log::Log;
use crate::node::{Client, Node, State, Work, agree, introduce, settings};
use crate::redis_cluster::{MASTERS, RedisCluster, id, wait};
use crate::server::{Server, free_port};

/// Number of partitions.
const PARTITIONS: u16 = 64;

/// Two partitions of each master, by their numbers.
const SOME: [usize; 2 * MASTERS] = [0, 20, 22, 41, 43, 63];

/// The slot of partition 0.
const SLOT: u16 = 128;

/// Nodes on some partitions.
struct Crowd {
    /// By partition, the nodes.
    nodes: Vec<Vec<Node>>,
    /// Batches that each node appends to each of the partitions.
    count: usize,
}

impl Crowd {
    /// Nodes that append this many batches to each of the partitions.
    async fn start(url: &str, partitions: &[usize], count: usize) -> Self {
        let work = |name| Work { name, count, size: 0, pause: Duration::from_millis(10) };
        let mut all: Vec<_> = partitions.iter().map(|_| Vec::new()).collect();
        for name in ["a", "b", "c"] {
            let settings = settings(url, PARTITIONS);
            introduce(url, &settings.nodes);
            let started = Node::start_at(&settings, partitions, work(name)).await;
            for (nodes, node) in all.iter_mut().zip(started) {
                nodes.push(node);
            }
        }
        Self { nodes: all, count }
    }

    /// The first node of each partition.
    fn first(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().map(|nodes| nodes.first().unwrap())
    }

    /// What the first node of each partition was told.
    fn states(&self) -> Vec<State> {
        self.first().map(Node::state).collect()
    }

    /// Waits until more batches have been appended to each of the partitions, or all.
    async fn goes_on(&self) {
        for (node, State { own, .. }) in self.first().zip(self.states()) {
            let is_further = |state: &State| state.own > own + 5 || state.own == self.count;
            node.until("further", is_further).await;
        }
    }

    /// Waits until all have appended everything; they must have been told the same then.
    async fn agree(&self) -> Vec<State> {
        let mut states = Vec::new();
        for nodes in &self.nodes {
            states.extend(agree(nodes, self.count).await);
        }
        states
    }
}

fn is_put_back(states: &[State]) -> bool {
    states.iter().any(|state| state.put_back > 0)
}

/// The node finds the others by one of them, though it isn't there for all of the addresses.
#[tokio::test(flavor = "multi_thread")]
async fn all_partitions_are_spread_over_the_masters() {
    let redis = RedisCluster::start();
    let url = format!("redis://127.0.0.1:{},{}", free_port(), redis.seed());
    let all: Vec<_> = (0..usize::from(PARTITIONS)).collect();
    let crowd = Crowd::start(&url, &all, 5).await;
    let states = crowd.agree().await;
    assert!(states.iter().all(|state| state.failed == 0 && state.put_back == 0), "{states:?}");
    assert_eq!(redis.channels(), [21, 22, 21]);
    // one address is enough
    let late = Node::start_at(&settings(&redis.seed(), PARTITIONS), &[0], idle()).await;
    let told = late.first().unwrap().until("caught up", |state| state.times_caught_up == 1).await;
    assert_eq!(told.log.len(), 15);
}

fn idle() -> Work {
    Work { name: "late", count: 0, size: 0, pause: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_move_under_load() {
    let redis = RedisCluster::start();
    let crowd = Crowd::start(&redis.url(), &SOME, 200).await;
    let slot = slot_of_0(&redis);
    for (from, to) in [(0, 1), (1, 0)] {
        crowd.goes_on().await;
        let pause = Duration::from_millis(100);
        tokio::task::block_in_place(|| redis.move_slot(slot, from, to, pause));
    }
    crowd.goes_on().await;
    let [one, other] = [0, 2].map(|number: usize| id(&redis.masters[number]));
    let reshard = tokio::task::block_in_place(|| {
        let mut reshard = Command::new("redis-cli");
        reshard.args(["--cluster", "reshard", &format!("127.0.0.1:{}", redis.masters[0].port)]);
        reshard.args(["--cluster-from", &one, "--cluster-to", &other]);
        reshard.args(["--cluster-slots", "200", "--cluster-yes"]).output().unwrap()
    });
    assert!(reshard.status.success(), "{reshard:?}");
    let states = crowd.agree().await;
    assert!(!is_put_back(&states), "nothing was lost: {states:?}");
    wait(|| redis.channels() == [20, 22, 22]);
}

/// The slot of partition 0, as Redis says.
fn slot_of_0(redis: &RedisCluster) -> u16 {
    let first = redis.masters.first().unwrap();
    let keys: Vec<String> = first.ask("KEYS test:{0.*:meta");
    let slot = first.ask(&format!("CLUSTER KEYSLOT {}", keys.first().unwrap()));
    assert!(SLOT.abs_diff(slot) <= 8, "{slot}");
    slot
}

/// What the one has lost, the nodes put back. What the others have goes on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn masters_are_emptied_and_restarted_empty() {
    let mut redis = RedisCluster::start();
    let crowd = Crowd::start(&redis.url(), &SOME, 150).await;
    crowd.goes_on().await;
    tokio::task::block_in_place(|| redis.masters[1].tell("FLUSHALL"));
    crowd.goes_on().await;
    let before = crowd.states();
    tokio::task::block_in_place(|| redis.masters[2].restart(Duration::from_secs(2)));
    for (before, after) in before.iter().zip(crowd.states()).take(4) {
        let (before, after) = (before.own, after.own);
        assert!(after == crowd.count || after > before, "{before} {after}");
    }
    let states = crowd.agree().await;
    let (of_first, of_both) = states.split_at(2 * 3);
    assert!(of_first.iter().all(|state| state.put_back == 0), "{of_first:?}");
    assert!(is_put_back(&of_both[..6]) && is_put_back(&of_both[6..]), "{of_both:?}");
}

/// A replica takes the place of its master by hand, then of one that is killed, and then of one whose newest batches it
/// hasn't got.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_take_over() {
    let mut redis = RedisCluster::start_replicated();
    let crowd = Crowd::start(&redis.url(), &SOME, 250).await;
    crowd.goes_on().await;
    let is_master =
        |server: &Server| server.ask::<String>("INFO replication").contains("role:master");
    tokio::task::block_in_place(|| {
        redis.replicas[0].tell("CLUSTER FAILOVER");
        wait(|| is_master(&redis.replicas[0]));
    });
    crowd.goes_on().await;
    tokio::task::block_in_place(|| {
        drop(redis.masters.remove(1));
        wait(|| is_master(&redis.replicas[1]));
    });
    crowd.goes_on().await;
    let before = crowd.states().split_off(4);
    assert!(!is_put_back(&before), "{before:?}");
    tokio::task::block_in_place(|| {
        redis.replicas[2].signal("STOP");
        redis.masters[1].tell("CLIENT KILL TYPE replica");
    });
    crowd.goes_on().await;
    tokio::task::block_in_place(|| {
        drop(redis.masters.remove(1));
        redis.replicas[2].signal("CONT");
        wait(|| is_master(&redis.replicas[2]));
    });
    let states = crowd.agree().await;
    assert!(is_put_back(&states[4 * 3..]), "nothing was lost: {states:?}");
}

/// With a user of the least rights on each server, and certificates.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_used_with_tls_and_a_user() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("cert"), made.cert.pem()).unwrap();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (path("cert"), path("key"));
    let flags = ["--tls-cluster", "yes", "--tls-auth-clients", "no", "--tls-ca-cert-file", &cert];
    let flags = [&flags[..], &["--tls-cert-file", &cert, "--tls-key-file", &key]].concat();
    let redis = RedisCluster::start_encrypted(&flags);
    let rules = "on >s3cret ~test:* &test:* +evalsha +eval +hset +hsetnx +hget +hmget +hgetall +hincrby +xadd \
                 +xrange +xtrim +time +ping +info +unlink +rpush +lrange +llen +expire +persist +spublish +ssubscribe \
                 +cluster|slots +cluster|info";
    for server in &redis.masters {
        server.tell(&format!("ACL SETUSER ann {rules}"));
        server.tell("ACL SETUSER default off");
    }
    let url = format!("rediss://ann:s3cret@127.0.0.1:{}", redis.tls_ports[1]);
    let pem = made.cert.pem().into_bytes();
    let engine = Engine::Redis(RedisSettings::new(&url, Some(pem)).unwrap());
    let settings = EngineSettings { engine, ..settings("redis://localhost", PARTITIONS) };
    let work = Work { name: "a", count: 5, ..idle() };
    let nodes = Node::start_at(&settings, &SOME, work).await;
    for node in nodes {
        agree(&[node], 5).await;
    }
}

#[tokio::test]
async fn what_is_no_redis_cluster_is_said() {
    let redis = Server::start(&[]);
    let other =
        Server::start(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    for (url, says) in [
        (format!("{},{}", redis.url(), redis.url()), "is no part of a Redis Cluster"),
        (other.url(), "has slots without a master"),
        (format!("{}/5", other.url()), "has no databases: take it out of the URL"),
    ] {
        let (log, _guard) = Log::capture();
        tokio::select! {
            _ = Client::connect(&url, 1) => panic!("connected to {url}"),
            () = log.until(says) => {}
        }
    }
    let new = |url| RedisSettings::new(url, None).unwrap();
    for (first, next, says) in [
        ("redis://a", "rediss://b", "the same scheme"),
        ("redis://u:p@a", "redis://u:q@b", "the same scheme"),
        ("redis://a/1", "redis://b/1", "name a database"),
    ] {
        let refused = new(first).with_seeds([next].into_iter()).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let refused = new("redis://a").with_seeds(["redis://b"].into_iter()).unwrap();
    let refused = refused.with_sentinels("c:1").unwrap_err().to_string();
    assert!(refused.contains("which has no Sentinels"), "{refused}");
}
