//! Which nodes there are, for a partition: the one with the beats finds it, and tells the others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::partition::PartitionReplica;
use crate::cluster::Item;
use crate::log::NodeId;
use crate::telemetry::Departure;

/// Leases after which a node is excluded that appends and has never beaten, as far as this node knows.
const NEVER_BEATEN: u32 = 3;

impl PartitionReplica {
    /// Tells all partitions which nodes there are, when that changes and now and then.
    pub(super) fn announce_members(&mut self, now: Instant) {
        if !self.is_current() {
            return;
        }
        let is_due = self.announced.is_none_or(|at| now >= at + self.cluster.lease);
        if !is_due && self.partition.members().nodes().eq(self.members.iter().copied()) {
            return;
        }
        self.announced = Some(now);
        let members: Arc<BTreeSet<NodeId>> = Arc::new(self.partition.members().nodes().collect());
        for node in members.difference(&self.members).filter(|it| **it != self.cluster.node) {
            tracing::info!(%node, members = members.len(), "a node has joined");
        }
        for node in self.members.difference(&members).filter(|it| **it != self.cluster.node) {
            let members = members.len();
            let departures = &self.cluster.instruments.departures;
            if self.partition.nodes().any(|(silent, _)| silent == *node) {
                departures.increment(Departure::Dead);
                tracing::warn!(%node, members, "a node has been silent for its lease: it counts as dead");
            } else {
                departures.increment(Departure::Stopped);
                tracing::info!(%node, members, "a node has stopped");
            }
        }
        self.cluster.announce(&members);
        self.set_members(&members, now);
    }

    /// The partition with the beats says which nodes there are: a list that comes behind a later one is out of date.
    pub(super) fn hear_of_members(
        &mut self,
        number: u64,
        members: &BTreeSet<NodeId>,
        now: Instant,
    ) {
        if number > self.heard_of {
            self.heard_of = number;
            self.set_members(members, now);
        }
    }

    /// Sets the nodes there are. Those that may append here and aren't among them any more are excluded; and those that
    /// have never been, after a while.
    fn set_members(&mut self, members: &BTreeSet<NodeId>, now: Instant) {
        self.rank = self.rank_among(members);
        self.partition.shard_mut().set_rank(self.rank);
        let others = self.partition.nodes().filter(|(node, _)| *node != self.cluster.node);
        let absent: Vec<_> = others.filter(|(node, _)| !members.contains(node)).collect();
        self.suspects.retain(|node, _| absent.iter().any(|(absent, _)| absent == node));
        for (node, incarnation) in absent {
            let since = *self.suspects.entry(node).or_insert(now);
            if self.members.contains(&node) || now >= since + NEVER_BEATEN * self.cluster.lease {
                self.partition.propose(Item::Gone { node, incarnation, ttl: self.ttl });
            }
        }
        self.members.clone_from(members);
        self.follow_rules();
    }

    /// The rules of this log are those of the log with the beats, in the end.
    pub(super) fn follow_rules(&mut self) {
        if let Some(rules) = self.cluster.rules() {
            self.partition.follow_rules(rules);
        }
    }

    /// This node's place in this partition's order of the nodes.
    fn rank_among(&self, members: &BTreeSet<NodeId>) -> u32 {
        let weight = |node: NodeId| {
            let mut hash = crc32fast::Hasher::new();
            hash.update(&node.0.to_le_bytes());
            hash.update(&(self.number as u64).to_le_bytes());
            (hash.finalize(), node)
        };
        let own = weight(self.cluster.node);
        let before = members.iter().filter(|node| weight(**node) < own).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }
}
