//! What a node asks all nodes, or one of them, to do.
//!
//! ```text
//! Partition::ask() ─▶ Item::Ask ─▶ the log ─▶ take_heard(), on each of them: it does so
//!           ┌────────────────────────────────────┘
//!           └▶ Item::Answer ─▶ the log ─▶ take_answered(), on the node that asked
//! ```
//!
//! Each node hears it at the same place in the log. Who has to answer follows from that place, too: those of them that are
//! members there. A node that is gone before it has answered isn't waited for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::log::{NodeId, Position};
use crate::types::{Identity, Names, SessionId};

/// What a node asks others to do.
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
    /// To park a session that it has, as a connection of the node that asks wants to resume it.
    Release {
        /// The session.
        session: SessionId,
        /// The identity of who wants it. With any other than the session's, nothing happens.
        identity: Identity,
    },
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// How many sessions it was about.
    pub sessions: u64,
    /// How far logs have to be read to find that it was done.
    pub after: Reading,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its number.
    pub number: u64,
    /// All answers together. `None` if the other nodes believed this one dead before it was in the log: it never will
    /// be.
    pub sum: Option<Answer>,
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
    sum: Answer,
}

impl Asks {
    /// A number for something that is about to be asked.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Something that this node has asked these nodes is in the log.
    pub(super) fn open(&mut self, number: u64, of: BTreeSet<NodeId>) {
        self.open.insert(number, Open { awaited: of, sum: Answer::default() });
        self.close();
    }

    /// A node has answered this one.
    pub(super) fn answer(&mut self, number: u64, by: NodeId, answer: Answer) {
        if let Some(Open { awaited, sum }) = self.open.get_mut(&number) {
            sum.sessions = sum.sessions.saturating_add(answer.sessions);
            sum.after.extend(answer.after);
            awaited.remove(&by);
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
                answered.push(Answered { number: *number, sum: Some(std::mem::take(sum)) });
            }
            !awaited.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn ask(asks: &mut Asks, of: &[NodeId]) -> u64 {
        let number = asks.next_number();
        asks.open(number, of.iter().copied().collect());
        number
    }

    fn answer(sessions: u64) -> Answer {
        Answer { sessions, after: vec![(1, Position(sessions))] }
    }

    fn answered(number: u64, sessions: &[u64]) -> Answered {
        let after = sessions.iter().map(|it| (1, Position(*it))).collect();
        Answered { number, sum: Some(Answer { sessions: sessions.iter().sum(), after }) }
    }

    #[test]
    fn the_sum_is_there_when_all_have_answered_or_are_gone() {
        let mut asks = Asks::default();
        let (one, two) = (ask(&mut asks, &NODES), ask(&mut asks, &NODES));
        asks.answer(one, NODES[1], answer(4));
        asks.answer(two, NODES[1], answer(1));
        asks.answer(two, NODES[0], answer(0));
        asks.remove(NODES[2]);
        assert_eq!(asks.answered, [answered(two, &[1, 0])]);
        asks.answer(two, NODES[2], answer(9)); // it was believed dead: too late
        asks.answer(one, NodeId(4), answer(2)); // it came behind, and has ended something all the same
        asks.answer(one, NODES[0], answer(3));
        assert_eq!(asks.answered[1..], [answered(one, &[4, 2, 3])]);
        assert!(asks.open.is_empty());
    }

    #[test]
    fn nobody_is_waited_for_who_isnt_there() {
        let mut asks = Asks::default();
        let number = ask(&mut asks, &[]);
        assert_eq!(asks.answered, [answered(number, &[])]);
    }
}
