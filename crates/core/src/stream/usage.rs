//! Use of a stream by the nodes that share its log.

use super::digest::mix;
use crate::log::{NodeId, Position};

/// What a shared log says of a stream's use. One node's own log says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Nothing: any node may say that the stream is idle.
    #[default]
    Unknown,
    /// This node uses it, and is to say when it no longer does.
    By(NodeId),
    /// It was idle at this position, and nothing has happened since.
    Idle(Position),
}

impl Usage {
    /// Mixes it into the digest of a stream.
    pub(super) const fn mixed_into(self, digest: u64) -> u64 {
        match self {
            Self::Unknown => digest,
            Self::By(node) => mix(digest, node.0),
            Self::Idle(position) => mix(!digest, position.0),
        }
    }

    /// Whether the stream was idle, and nothing has happened since.
    pub(super) const fn is_idle(self) -> bool {
        matches!(self, Self::Idle(_))
    }
}
