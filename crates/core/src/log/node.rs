//! Nodes: who writes a log.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::SessionId;

/// A node that proposes changes, in one run of its process; 0 where there is only one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl NodeId {
    /// A session of this node. Its id names the node, and has 64 secret bits.
    pub const fn session(self, secret: u64) -> SessionId {
        SessionId::from_halves([self.0, secret])
    }

    /// The node that a session is of.
    pub const fn of(session: SessionId) -> Self {
        let [node, _] = session.halves();
        Self(node)
    }

    /// Whether a session is of this node.
    pub const fn has(self, session: SessionId) -> bool {
        Self::of(session).0 == self.0
    }
}
