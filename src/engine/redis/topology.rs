//! Which server has which partitions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use redis::{ConnectionInfo, Value};

use super::keys::ClusterKeys;
use super::run::text;
use super::settings::RedisSettings;

/// Which server has which partitions: one server all of them, or each master of a Redis Cluster its share.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    /// The servers that have partitions, by their places.
    pub(super) servers: BTreeMap<String, Server>,
    /// The server of what belongs to the whole cluster, if there is one, with its place.
    pub(super) home: Option<(String, ConnectionInfo)>,
    /// Number of partitions that no server has.
    pub(super) missing: usize,
}

/// A server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) info: ConnectionInfo,
    /// The partitions that it has, in order.
    pub(super) partitions: Vec<u16>,
}

/// A Redis Cluster, as one of its servers sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Counts elections and moves of slots: a larger one has seen more of them.
    pub(super) epoch: u64,
    /// Slots, with host and port of their master.
    masters: Vec<(RangeInclusive<u16>, (String, u16))>,
    /// Host and port of each server, replicas too.
    pub(super) places: Vec<(String, u16)>,
}

impl Topology {
    /// One server that has everything.
    pub(super) fn of_one(info: ConnectionInfo, partitions: u16) -> Self {
        let place = info.addr().to_string();
        let home = Some((place.clone(), info.clone()));
        let server = Server { info, partitions: (0..partitions).collect() };
        Self { servers: BTreeMap::from([(place, server)]), home, missing: 0 }
    }

    /// The servers of a Redis Cluster.
    pub(super) fn of_view(
        view: &View,
        keys: &ClusterKeys,
        partitions: u16,
        settings: &RedisSettings,
    ) -> Self {
        let mut topology = Self { servers: BTreeMap::new(), home: None, missing: 0 };
        for partition in 0..partitions {
            let Some((host, port)) = view.master(keys.partition(partition).slot()) else {
                topology.missing += 1;
                continue;
            };
            let info = settings.server_at(host, *port);
            let place = info.addr().to_string();
            let server = Server { info, partitions: Vec::new() };
            topology.servers.entry(place).or_insert(server).partitions.push(partition);
        }
        topology.home = view.master(keys.cluster_slot()).map(|(host, port)| {
            let info = settings.server_at(host, *port);
            (info.addr().to_string(), info)
        });
        topology
    }
}

impl View {
    /// From the answers to `CLUSTER SLOTS` and `CLUSTER INFO` of a server at a host.
    pub(super) fn read(slots: Value, info: &Value, host: &str) -> Option<Self> {
        let epoch =
            text(info)?.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
        let mut view = Self { epoch: epoch?.trim().parse().ok()?, ..Self::default() };
        let Value::Array(ranges) = slots else { return None };
        for range in ranges {
            let Value::Array(range) = range else { return None };
            let mut range = range.into_iter();
            let (Value::Int(first), Value::Int(last)) = (range.next()?, range.next()?) else {
                return None;
            };
            let slots = first.try_into().ok()?..=last.try_into().ok()?;
            let places: Vec<_> = range.map(|server| place(server, host)).collect();
            if let Some(Some(master)) = places.first() {
                view.masters.push((slots, master.clone()));
            }
            view.places.extend(places.into_iter().flatten());
        }
        view.places.sort();
        view.places.dedup();
        Some(view)
    }

    fn master(&self, slot: u16) -> Option<&(String, u16)> {
        self.masters.iter().find(|(slots, _)| slots.contains(&slot)).map(|(_, place)| place)
    }
}

/// The place of a server: `[host, port, …]`. A host that isn't said is that which was asked; `?` is unknown.
fn place(server: Value, asked: &str) -> Option<(String, u16)> {
    let Value::Array(parts) = server else { return None };
    let [host, Value::Int(port), ..] = &parts[..] else { return None };
    let host = match text(host) {
        None | Some("") => asked,
        Some("?") => return None,
        Some(host) => host,
    };
    Some((host.to_owned(), u16::try_from(*port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::settings::ClusterName;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn server(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), bulk("id")])
    }

    fn range(first: i64, last: i64, servers: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], servers].concat())
    }

    #[test]
    fn each_master_has_the_partitions_of_its_slots() {
        let slots = Value::Array(vec![
            range(0, 8_191, vec![server(bulk("a"), 1), server(bulk("c"), 3)]),
            range(8_192, 12_287, vec![server(Value::Nil, 2)]),
            range(12_288, 16_000, vec![server(bulk("?"), 4)]),
        ]);
        let info = bulk("cluster_state:ok\r\ncluster_current_epoch:7\r\n");
        let view = View::read(slots, &info, "asked").unwrap();
        let places = [("a", 1), ("asked", 2), ("c", 3)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!((view.epoch, &view.places[..]), (7, &places[..]));
        let settings = RedisSettings::new("redis://asked:2", None).unwrap();
        let keys = ClusterKeys::new(&ClusterName::new("n").unwrap());
        let topology = Topology::of_view(&view, &keys, 64, &settings);
        let of = |place: &str| topology.servers.get(place).unwrap().partitions.clone();
        assert_eq!(of("a:1"), (0..32).collect::<Vec<_>>());
        assert_eq!(of("asked:2"), (32..48).collect::<Vec<_>>());
        assert_eq!((topology.servers.len(), topology.missing), (2, 16));
    }

    #[test]
    fn other_answers_are_refused() {
        let info = bulk("cluster_current_epoch:7");
        for slots in [Value::Nil, Value::Array(vec![Value::Int(1)])] {
            assert_eq!(View::read(slots, &info, "h"), None);
        }
        assert_eq!(View::read(Value::Array(Vec::new()), &bulk("x"), "h"), None);
    }
}
