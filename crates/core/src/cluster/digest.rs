//! Digests: whether all nodes have the same.
//!
//! Every replica notes its digest where it applies [`Item::Digest`](super::Item::Digest), and the next such item has what
//! the node that proposes it has noted there:
//!
//! ```text
//! log:   … Digest(of: 40, hash: a) … Digest(of: 75, hash: b) …
//!             75: notes its own        compares b with its own of 75, notes its own
//! ```
//!
//! So nothing waits for anything, and a digest is one number: streams keep it up to date with each change. The rules in
//! force needn't be in it: for a replica that goes by others, the batch with the item doesn't count.

use serde::{Deserialize, Serialize};

use crate::log::{NodeId, Position};

/// A digest of all that replicas agree on, as of a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The position, which has an item of this kind; 0 if its node had yet to apply one.
    pub of: Position,
    /// The digest.
    pub hash: u64,
}

/// What came of comparing another node's digest with this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The other node.
    pub by: NodeId,
    /// Its digest.
    pub theirs: Digest,
    /// The digest of this node as of the same position.
    pub ours: u64,
}

impl Compared {
    /// Whether both nodes had the same.
    pub fn is_equal(&self) -> bool {
        self.ours == self.theirs.hash
    }
}

/// The digests of a partition on this node.
#[derive(Debug, Default)]
pub(super) struct Digests {
    /// The one of the last item.
    pub(super) last: Digest,
    /// What came of comparing since it was last asked.
    compared: Vec<Compared>,
}

impl Digests {
    /// Compares the digest of another node with this one's, if this one has noted any there.
    pub(super) fn compare(&mut self, by: NodeId, theirs: Digest) {
        let Digest { of, hash: ours } = self.last;
        if of == theirs.of && of != Position::default() {
            self.compared.push(Compared { by, theirs, ours });
        }
    }

    /// What came of comparing since the last call.
    pub(super) fn take(&mut self) -> Vec<Compared> {
        std::mem::take(&mut self.compared)
    }
}
