//! What happens to appends and to nodes.

use broker::cluster::{Item, Overdue};

use crate::node::Node;
use crate::starts::save;
use crate::steps::Step;
use crate::world::{CLIENTS, LEASE, NODES, World};

/// What becomes of an append.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is stored, and the node knows.
    Stored,
    /// It is stored, but the node gets no answer.
    Unanswered,
    /// It is lost, and the node gets no answer.
    Lost,
}

impl World {
    /// The latest snapshot is this node's.
    pub(crate) fn save(&mut self, node: usize, slice: usize) {
        let Node { partition, read, restored, .. } = &mut self.nodes[node];
        let of = (*read.max(restored), slice);
        self.saved = Some(save(partition, of, |partition| {
            partition.shard_mut().handle_timeout(self.now);
        }));
    }

    /// The process of a node is another one. Its clients come back to the others, with new sessions.
    pub(crate) fn restart(&mut self, node: usize, earlier: Option<usize>) {
        self.killed.push(self.nodes[node].id);
        self.nodes[node] = self.node(node, earlier);
        for number in 0..CLIENTS {
            if self.clients[number].node == node {
                self.clients[number] = self.client((node + 1 + number % 2) % NODES);
            }
        }
    }

    pub(crate) fn accuse(&mut self, node: usize) {
        let partition = &mut self.nodes[node].partition;
        for Overdue { node, beat } in partition.members().overdue(LEASE).collect::<Vec<_>>() {
            partition.propose(Item::Overdue { node, beat, lease: LEASE });
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
