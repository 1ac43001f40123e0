//! What happens to appends, to nodes and to the engine.

use std::collections::BTreeSet;

use broker::cluster::{Item, Overdue};
use broker::log::NodeId;

use crate::node::Node;
use crate::starts::save;
use crate::steps::Step;
use crate::world::{LEASE, NODES, World, millis, stream};

/// What becomes of an append.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is stored, and the node knows.
    Stored,
    /// It is stored, but the node gets no answer.
    Unanswered,
    /// It arrives at some time, or never, and the node gets no answer.
    Delayed,
    /// It is lost, and the node gets no answer.
    Lost,
}

impl World {
    /// The latest snapshot is this node's.
    pub(crate) fn save(&mut self, node: usize, slice: usize) {
        let now = self.nodes[node].now(self.now);
        let Node { partition, read, restored, is_lost, .. } = &mut self.nodes[node];
        if !*is_lost && partition.unknown().is_none() {
            let of = (*read.max(restored), slice);
            self.saved = Some(save(partition, of, |partition| {
                partition.shard_mut().handle_timeout(now);
            }));
        }
    }

    /// The process of a node is another one. Its clients come back to the others, with new sessions.
    pub(crate) fn restart(&mut self, node: usize, earlier: Option<usize>) {
        self.killed.push(self.nodes[node].id);
        self.dead.push(self.nodes[node].id);
        self.nodes[node] = self.node(node, earlier);
        for number in 0..self.clients.len() {
            if self.clients[number].node == node {
                self.over.insert(self.clients[number].session, self.now);
                let to = (node + 1 + number % 2) % self.nodes.len();
                self.clients[number] = self.client(number, to);
            }
        }
    }

    pub(crate) fn beat(&mut self, node: usize) {
        if self.nodes[node].paused.is_none() {
            self.nodes[node].beat();
            self.nodes[node].partition.propose_digest();
        }
    }

    pub(crate) fn ask(&mut self, node: usize) {
        let Node { id, partition, paused: None, .. } = &mut self.nodes[node] else { return };
        self.asks.ask(*id, partition);
    }

    pub(crate) fn accuse(&mut self, node: usize) {
        let Node { id, partition, paused: None, .. } = &mut self.nodes[node] else { return };
        let overdue: Vec<_> = partition.members().overdue(LEASE).collect();
        for Overdue { node, beat } in overdue.into_iter().filter(|overdue| overdue.node != *id) {
            partition.propose(Item::Overdue { node, beat, lease: LEASE });
        }
    }

    pub(crate) fn pause(&mut self, node: usize) {
        let since = self.now;
        self.nodes[node].paused.get_or_insert_with(|| (since, Vec::new()));
    }

    /// A node goes on, and reaches the engine.
    pub(crate) fn heal(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.is_cut = false;
        let Some((since, waiting)) = it.paused.take() else { return };
        it.stood += self.now.duration_since(since);
        let now = it.now(self.now);
        for (of, input) in waiting {
            it.partition.shard_mut().handle(&stream(of), input, now);
        }
    }

    /// The engine loses its last batches. Of the nodes that reach it, the one that has most puts the rest back; with a
    /// fork behind it if another one may have had more.
    pub(crate) fn lose(&mut self, batches: usize, restarts: bool) {
        let present = self.nodes.iter().filter(|node| {
            !node.is_cut && node.paused.is_none() && !node.is_lost && !node.is_stopped()
        });
        let ids: BTreeSet<NodeId> = present.clone().map(|node| node.id).collect();
        let Some(first) = present.max_by_key(|node| node.read.max(node.restored)) else { return };
        let has = first.read.max(first.restored);
        let is_complete = first.partition.members().nodes().len() > 0
            && first.partition.members().nodes().all(|node| ids.contains(&node));
        let left = self.engine.log.len().saturating_sub(batches).max(has);
        self.seen.losses += 1;
        self.killed.clone_from(&self.dead);
        if restarts {
            self.engine.delayed.clear();
        }
        self.engine.log.truncate(left);
        self.order.truncate(&self.engine.log);
        self.resumed.retain(|_, read| *read <= left);
        if self.saved.as_ref().is_some_and(|saved| saved.batches > left) {
            self.saved = None;
        }
        for node in &mut self.nodes {
            node.is_lost |= node.read.max(node.restored) > left;
            node.is_unanswered = true; // what isn't in the log won't be
        }
        self.seen.lost += self.nodes.iter().filter(|node| node.is_lost).count();
        let order = &self.order;
        self.requests.lose(|text| order.is_published(text, left));
        // nobody goes on at once: whoever is missing is waited for
        self.pass(if is_complete { 1 } else { millis(LEASE) });
        if !is_complete {
            self.seen.forks += 1;
            self.engine.fork(self.now);
        }
    }
}

/// A node stands still until the others believe it dead.
pub(crate) fn pause(world: &mut World, node: usize) {
    for _ in 0..5 {
        world.step(&Step::Pass(100));
        for other in (0..NODES).filter(|other| *other != node) {
            world.step(&Step::Beat { node: other });
            world.step(&Step::Accuse { node: other });
            world.step(&Step::Append { node: other, fate: Fate::Stored });
        }
        for other in (0..NODES).filter(|other| *other != node) {
            world.step(&Step::Read { node: other, batches: usize::MAX });
        }
    }
}
