//! What a node asks all nodes to do.
//!
//! ```text
//! Partition::ask() ─▶ Item::Ask ─▶ the log ─▶ take_heard(), on every node: it does so
//!           ┌────────────────────────────────────┘
//!           └▶ Item::Answer ─▶ the log ─▶ take_answered(), on the node that asked
//! ```
//!
//! Each node hears it at the same place in the log. Who has to answer follows from that place, too: all nodes that are
//! members there. A node that is gone before it has answered isn't waited for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::log::{NodeId, Position};
use crate::types::Names;

/// What a node asks all nodes to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// To end the sessions that go by one of these names.
    Disconnect {
        /// The names.
        names: Names,
        /// Whether their clients should connect again.
        reconnect: bool,
        /// What was published before that comes before the end.
        after: Reading,
    },
}

/// How far logs have to be read, by the number of their partition.
pub type Reading = Vec<(u16, Position)>;

/// The node that asks, and its number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AskId {
    /// The node.
    pub node: NodeId,
    /// Its number, which it gives once.
    pub number: u64,
}

/// Something that this node is asked to do. It answers with [`Item::Answer`](super::Item::Answer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who asks.
    pub by: AskId,
    /// What.
    pub ask: Ask,
}

/// What became of something that this node asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its number.
    pub number: u64,
    /// The sum of all answers. `None` if the other nodes believed this one dead before it was in the log: it never
    /// will be.
    pub sum: Option<u64>,
}

/// What this node has asked and heard. It isn't replicated.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// The last number.
    number: u64,
    /// What this node has asked, and not all have answered.
    open: BTreeMap<u64, Open>,
    pub(super) heard: Vec<Heard>,
    pub(super) answered: Vec<Answered>,
}

#[derive(Debug)]
struct Open {
    /// The nodes that haven't answered.
    awaited: BTreeSet<NodeId>,
    sum: u64,
}

impl Asks {
    /// A number for something that is about to be asked.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Something is asked of these nodes, at its place in the log.
    pub(super) fn hear(&mut self, heard: Heard, by_this_node: bool, of: BTreeSet<NodeId>) {
        if by_this_node {
            self.open.insert(heard.by.number, Open { awaited: of, sum: 0 });
        }
        self.heard.push(heard);
    }

    /// A node has answered this one.
    pub(super) fn answer(&mut self, number: u64, by: NodeId, answer: u64) {
        if let Some(open) = self.open.get_mut(&number) {
            open.sum = open.sum.saturating_add(answer);
            open.awaited.remove(&by);
            self.close();
        }
    }

    /// A node is gone, and answers nothing more.
    pub(super) fn remove(&mut self, node: NodeId) {
        for open in self.open.values_mut() {
            open.awaited.remove(&node);
        }
        self.close();
    }

    /// What this node has asked is never in the log.
    pub(super) fn drop(&mut self, number: u64) {
        self.answered.push(Answered { number, sum: None });
    }

    fn close(&mut self) {
        let Self { open, answered, .. } = self;
        open.retain(|number, Open { awaited, sum }| {
            if awaited.is_empty() {
                answered.push(Answered { number: *number, sum: Some(*sum) });
            }
            !awaited.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn heard(asks: &mut Asks) -> u64 {
        let number = asks.next_number();
        let ask = Ask::Disconnect { names: Names::default(), reconnect: false, after: Vec::new() };
        let by = AskId { node: NODES[0], number };
        asks.hear(Heard { by, ask }, true, NODES.into());
        number
    }

    #[test]
    fn the_sum_is_there_when_all_have_answered_or_are_gone() {
        let mut asks = Asks::default();
        let (one, two) = (heard(&mut asks), heard(&mut asks));
        asks.answer(one, NODES[1], 4);
        asks.answer(two, NODES[1], 1);
        asks.answer(two, NODES[0], 0);
        asks.remove(NODES[2]);
        assert_eq!(asks.answered, [Answered { number: two, sum: Some(1) }]);
        asks.answer(two, NODES[2], 9); // it was believed dead: too late
        asks.answer(one, NodeId(4), 2); // it came behind, and has ended something all the same
        asks.answer(one, NODES[0], 3);
        assert_eq!(asks.answered[1..], [Answered { number: one, sum: Some(9) }]);
        assert!(asks.open.is_empty());
    }
}
