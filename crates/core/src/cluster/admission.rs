//! Admission: which batches of a log are applied.

use std::collections::BTreeMap;

use super::batch::Batch;
use crate::log::NodeId;

/// Decides which batches of a log are applied. It is replicated: it follows from the log alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    nodes: BTreeMap<NodeId, Standing>,
}

/// What is known of a node. That of a node which is gone stays, as a batch of its may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It appends, and this was the number of its last batch.
    Member {
        last: u64,
    },
    Gone,
}

/// Why a batch isn't applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The others believe the node dead.
    #[error("the node is gone")]
    Gone,
    /// It was applied before: its node appended it again, having got no answer.
    #[error("the batch was applied before")]
    Again,
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
        let standing = self.nodes.entry(batch.node).or_insert(Standing::Member { last: 0 });
        let Standing::Member { last } = standing else { return Err(Refused::Gone) };
        let expected = *last + 1;
        if batch.number < expected {
            return Err(Refused::Again);
        }
        if batch.number > expected {
            return Err(Refused::Missing { expected });
        }
        *last = expected;
        Ok(())
    }

    /// Excludes a node for ever; returns whether it was a member until now, or unknown.
    pub fn exclude(&mut self, node: NodeId) -> bool {
        self.nodes.insert(node, Standing::Gone) != Some(Standing::Gone)
    }

    /// Whether a node is excluded.
    pub fn is_gone(&self, node: NodeId) -> bool {
        self.nodes.get(&node) == Some(&Standing::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);

    fn batch(node: NodeId, number: u64) -> Batch {
        Batch { node, number, items: Vec::new() }
    }

    #[test]
    fn each_batch_of_a_node_is_admitted_once_and_in_order() {
        let mut admission = Admission::default();
        let results = [1, 1, 3, 2, 1, 3].map(|number| admission.admit(&batch(ONE, number)));
        let missing = Err(Refused::Missing { expected: 2 });
        let again = Err(Refused::Again);
        assert_eq!(results, [Ok(()), again, missing, Ok(()), again, Ok(())]);
        assert_eq!(admission.admit(&batch(NodeId(2), 1)), Ok(()), "numbers are the node's");
    }

    #[test]
    fn nothing_of_a_node_counts_once_it_is_gone() {
        let mut admission = Admission::default();
        admission.admit(&batch(ONE, 1)).unwrap();
        assert!(admission.exclude(ONE) && !admission.exclude(ONE));
        assert_eq!(admission.admit(&batch(ONE, 2)), Err(Refused::Gone));
        assert!(admission.exclude(NodeId(2)), "though nothing of it ever came");
        assert_eq!(admission.admit(&batch(NodeId(2), 1)), Err(Refused::Gone));
        assert!(admission.is_gone(ONE) && !admission.is_gone(NodeId(3)));
    }
}
