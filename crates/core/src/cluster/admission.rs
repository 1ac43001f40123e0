//! Admission: which batches of a log are applied, and which forks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::rules::{Rules, Unknown};
use crate::log::NodeId;
use crate::stream::mix;

/// Decides which batches of a log are applied. It is replicated: it follows from the log alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    nodes: BTreeMap<NodeId, Standing>,
    /// Where the log has gone on without what nodes had that were gone. There are few: each is a loss of the engine's.
    forks: BTreeSet<ForkId>,
}

/// Names a fork of a log. Each has another one, so that none counts twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForkId(pub u64);

/// What is known of a node's newest incarnation. It stays when that is gone, as a batch of its may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    incarnation: u32,
    /// Whether the others believe it dead.
    is_gone: bool,
    /// Number of its last batch.
    last: u64,
}

/// Why a batch isn't applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The others believe the node dead, or it has begun a later incarnation.
    #[error("the node is gone")]
    Gone,
    /// It was applied before: its node appended it again, having got no answer, or it was delivered again.
    #[error("the batch was applied before")]
    Again,
    /// It was written by other rules than those in force. Its node appends it again.
    #[error("it is written by the rules {}, which aren't in force", .0.0)]
    Rules(Rules),
    /// This node has met rules that it doesn't know. Only for it, the batch isn't applied.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// A batch that came before it was lost.
    #[error("batch {expected} of the node is missing")]
    Missing {
        /// Number of the missing batch.
        expected: u64,
    },
}

impl Admission {
    /// Admits a batch, which is applied then.
    pub fn admit(&mut self, batch: &Batch) -> Result<(), Refused> {
        let Batch { node, incarnation, number, .. } = *batch;
        let begun = Standing { incarnation, is_gone: false, last: 0 };
        let standing = self.nodes.entry(node).or_insert(begun);
        let mut next = if standing.incarnation < incarnation { begun } else { *standing };
        if next.is_gone || next.incarnation > incarnation {
            return Err(Refused::Gone);
        }
        let expected = next.last.saturating_add(1);
        if number < expected {
            return Err(Refused::Again);
        }
        if number > expected {
            return Err(Refused::Missing { expected });
        }
        next.last = expected;
        *standing = next;
        Ok(())
    }

    /// Admits a fork, which is applied then.
    pub fn admit_fork(&mut self, fork: ForkId) -> Result<(), Refused> {
        if self.forks.insert(fork) { Ok(()) } else { Err(Refused::Again) }
    }

    /// Excludes a node up to an incarnation; returns whether that was its newest, or the node is unknown.
    pub fn exclude(&mut self, node: NodeId, incarnation: u32) -> bool {
        if self.is_gone(node, incarnation) {
            return false;
        }
        self.nodes.insert(node, Standing { incarnation, is_gone: true, last: 0 });
        true
    }

    /// The same for all replicas that have read as far.
    pub(super) fn digest(&self) -> u64 {
        let forks = self.forks.iter().fold(0, |digest, fork| mix(digest, fork.0));
        self.nodes.iter().fold(forks, |digest, (node, Standing { incarnation, is_gone, last })| {
            let incarnation = u64::from(*incarnation) << 1 | u64::from(*is_gone);
            mix(mix(mix(digest, node.0), incarnation), *last)
        })
    }

    /// The incarnations that were excluded, and after which none has appended.
    pub fn gone(&self) -> impl Iterator<Item = (NodeId, u32)> {
        let gone = self.nodes.iter().filter(|(_, standing)| standing.is_gone);
        gone.map(|(node, standing)| (*node, standing.incarnation))
    }

    /// Whether nothing counts any more that an incarnation of a node appends.
    pub fn is_gone(&self, node: NodeId, incarnation: u32) -> bool {
        self.nodes.get(&node).is_some_and(|standing| {
            standing.incarnation > incarnation
                || standing.incarnation == incarnation && standing.is_gone
        })
    }

    /// The nodes that may append, with their incarnations.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, u32)> {
        let members = self.nodes.iter().filter(|(_, standing)| !standing.is_gone);
        members.map(|(node, standing)| (*node, standing.incarnation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);

    fn batch(node: NodeId, incarnation: u32, number: u64) -> Batch {
        Batch { rules: Rules(1), node, incarnation, number, items: Vec::new() }
    }

    #[test]
    fn each_batch_of_a_node_is_admitted_once_and_in_order() {
        let mut admission = Admission::default();
        let results = [1, 1, 3, 2, 1, 3].map(|number| admission.admit(&batch(ONE, 1, number)));
        let missing = Err(Refused::Missing { expected: 2 });
        let again = Err(Refused::Again);
        assert_eq!(results, [Ok(()), again, missing, Ok(()), again, Ok(())]);
        assert_eq!(admission.admit(&batch(NodeId(2), 1, 1)), Ok(()), "numbers are the node's");
    }

    #[test]
    fn nothing_of_an_incarnation_counts_once_it_is_gone() {
        let mut admission = Admission::default();
        admission.admit(&batch(ONE, 1, 1)).unwrap();
        assert!(admission.exclude(ONE, 1) && !admission.exclude(ONE, 1));
        assert_eq!(admission.admit(&batch(ONE, 1, 2)), Err(Refused::Gone));
        assert!(admission.exclude(NodeId(2), 1), "though nothing of it ever came");
        assert_eq!(admission.admit(&batch(NodeId(2), 1, 1)), Err(Refused::Gone));
        assert!(admission.is_gone(ONE, 1) && !admission.is_gone(NodeId(3), 1));
    }

    #[test]
    fn a_later_incarnation_counts_and_ends_those_before_it() {
        let mut admission = Admission::default();
        admission.admit(&batch(ONE, 1, 1)).unwrap();
        admission.exclude(ONE, 1);
        assert_eq!(admission.admit(&batch(ONE, 2, 2)), Err(Refused::Missing { expected: 1 }));
        assert_eq!(admission.admit(&batch(ONE, 1, 2)), Err(Refused::Gone), "it hasn't begun");
        assert_eq!(admission.admit(&batch(ONE, 2, 1)), Ok(()));
        assert_eq!(admission.admit(&batch(ONE, 1, 2)), Err(Refused::Gone));
        assert!(!admission.exclude(ONE, 1), "that was the one before");
        assert!(admission.nodes().eq([(ONE, 2)]));
        assert!(admission.exclude(ONE, 3), "of the log that it hasn't appended to since");
        assert!(admission.is_gone(ONE, 3) && admission.nodes().next().is_none());
    }

    #[test]
    fn each_fork_is_admitted_once() {
        let mut admission = Admission::default();
        let results = [1, 2, 1].map(|fork| admission.admit_fork(ForkId(fork)));
        assert_eq!(results, [Ok(()), Ok(()), Err(Refused::Again)]);
    }

    #[test]
    fn no_number_is_too_large() {
        let standing = Standing { incarnation: u32::MAX, is_gone: false, last: u64::MAX };
        let nodes = BTreeMap::from([(ONE, standing)]);
        let mut admission = Admission { nodes, ..Admission::default() };
        assert_eq!(admission.admit(&batch(ONE, u32::MAX, 1)), Err(Refused::Again));
    }
}
