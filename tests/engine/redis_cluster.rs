//! A Redis Cluster of a test's own: three masters, with a replica each if they are wished.

use std::time::{Duration, Instant};

use redis::Value;

use crate::node::PATIENCE;
use crate::server::{Server, free_port};

/// Slots of all masters.
const SLOTS: usize = 16_384;

/// Number of masters.
pub(crate) const MASTERS: usize = 3;

/// A running Redis Cluster; killed when dropped.
pub(crate) struct RedisCluster {
    /// The masters as it began, each with a third of all slots, in order.
    pub(crate) masters: Vec<Server>,
    /// A replica of each, in the same order, or none.
    pub(crate) replicas: Vec<Server>,
    /// The ports of all for TLS, if they have it.
    pub(crate) tls_ports: Vec<u16>,
}

impl RedisCluster {
    /// Three masters.
    pub(crate) fn start() -> Self {
        Self::start_with(0, &[])
    }

    /// Three masters with a replica each.
    pub(crate) fn start_replicated() -> Self {
        Self::start_with(MASTERS, &[])
    }

    /// Three masters, with the flags for TLS.
    pub(crate) fn start_encrypted(flags: &[&str]) -> Self {
        Self::start_with(0, flags)
    }

    fn start_with(replicas: usize, tls: &[&str]) -> Self {
        let start = |_| {
            let [bus, tls_port] = [free_port(), free_port()].map(|port| port.to_string());
            let own_flags = [
                &["--cluster-enabled", "yes", "--cluster-port", &bus][..],
                &["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"],
                &["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"],
            ];
            let mut flags = own_flags.concat();
            if !tls.is_empty() {
                flags.extend(["--tls-port", &tls_port]);
                flags.extend(tls);
            }
            let server = Server::start(&flags);
            let port = if tls.is_empty() { server.port } else { tls_port.parse().unwrap() };
            (server, (bus, port))
        };
        let (mut servers, buses): (Vec<_>, Vec<_>) = (0..MASTERS + replicas).map(start).unzip();
        for (number, server) in servers.iter().enumerate() {
            server.tell(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
            if number < MASTERS {
                let (first, behind) = (number * SLOTS / MASTERS, (number + 1) * SLOTS / MASTERS);
                server.tell(&format!("CLUSTER ADDSLOTSRANGE {first} {}", behind - 1));
            }
        }
        let (first, others) = servers.split_first().unwrap();
        for (bus, port) in buses.iter().skip(1) {
            first.tell(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        }
        let count = 1 + others.len();
        for server in &servers {
            wait(|| {
                let nodes: String = server.ask("CLUSTER NODES");
                nodes.lines().count() == count && !nodes.contains("handshake")
            });
        }
        let replicas = servers.split_off(MASTERS);
        let tls_ports = buses.into_iter().map(|(_, port)| port).collect();
        let cluster = Self { masters: servers, replicas, tls_ports };
        for (replica, master) in cluster.replicas.iter().zip(&cluster.masters) {
            replica.tell(&format!("CLUSTER REPLICATE {}", id(master)));
            wait(|| replica.ask::<String>("INFO replication").contains("master_link_status:up"));
        }
        for server in cluster.servers() {
            wait(|| {
                let info: String = server.ask("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            });
        }
        cluster
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        self.masters.iter().chain(&self.replicas)
    }

    /// The URLs of all servers, with commas.
    pub(crate) fn url(&self) -> String {
        self.servers().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// The URL of one of them.
    pub(crate) fn seed(&self) -> String {
        self.masters.last().unwrap().url()
    }

    /// Moves a slot and all its keys, with a pause before each key.
    pub(crate) fn move_slot(&self, slot: u16, from: usize, to: usize, pause: Duration) {
        let [source, target] = [from, to].map(|number: usize| self.masters.get(number).unwrap());
        target.tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(source)));
        source.tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(target)));
        loop {
            std::thread::sleep(pause);
            let keys: Vec<String> = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1"));
            let Some(key) = keys.first() else { break };
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(target.port).arg(key).arg(0).arg(5000);
            migrate.query::<Value>(&mut source.connection()).unwrap();
        }
        std::thread::sleep(pause);
        for server in [target, source] {
            server.tell(&format!("CLUSTER SETSLOT {slot} NODE {}", id(target)));
        }
    }

    /// The number of channels that are subscribed to at each master.
    pub(crate) fn channels(&self) -> Vec<usize> {
        let count = |server: &Server| server.ask::<Vec<String>>("PUBSUB SHARDCHANNELS").len();
        self.masters.iter().map(count).collect()
    }
}

/// The id of a server.
pub(crate) fn id(server: &Server) -> String {
    server.ask("CLUSTER MYID")
}

/// Waits until something is so.
pub(crate) fn wait(mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "it takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}
