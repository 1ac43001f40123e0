//! Entries: changes at their positions in the log.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::node::NodeId;
use super::position::Position;
use crate::types::{Epoch, StreamName};

/// A change of a stream at its position. It may be void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its position in the log.
    pub position: Position,
    /// Time at which it got its position, in milliseconds of the Unix epoch.
    pub at: u64,
    /// The request that proposed it.
    pub origin: Origin,
    /// The stream.
    pub stream: StreamName,
    /// The change.
    pub change: Change,
}

/// Identity of a log: a random number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogId(pub u64);

impl LogId {
    /// Distance between the names of adjacent positions, so that these don't look alike. It is odd, so
    /// all names are different.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// A number for a position: unique in this log, and most likely among all logs.
    pub const fn name(self, position: Position) -> u64 {
        self.0.wrapping_add(position.0.wrapping_mul(Self::STEP))
    }

    /// The epoch of a history that begins at a position.
    pub fn epoch(self, position: Position) -> Epoch {
        self.epoch_at(position, 0)
    }

    /// The same in a log that several nodes write, with the entry's time. What the engine loses may have been shown to
    /// clients; another entry has its position then, but not its time.
    pub fn epoch_at(self, position: Position, at: u64) -> Epoch {
        const STEP: u64 = 0xd6e8_feb8_6659_fd93; // odd, and unlike the other one
        format!("{:x}", self.name(position).wrapping_add(at.wrapping_mul(STEP))).as_str().into()
    }
}

impl Entry {
    /// The epoch of a history that begins with it.
    pub(crate) fn epoch(&self, log: LogId) -> Epoch {
        let is_alone = self.origin.node == NodeId::default();
        log.epoch_at(self.position, if is_alone { 0 } else { self.at })
    }
}

/// The node that proposed a change, and its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// The node's number for the request; 0 if nobody waits for the outcome.
    pub request: u64,
}

/// Why an entry is void: its condition doesn't hold at its position. All replicas find the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The stream has as many members as the change allows.
    #[error("the stream is full: at most {0} members are allowed")]
    Full(usize),
    /// The subscription is present under another id.
    #[error("this subscription has joined under another id: leave first")]
    JoinedOtherwise,
    /// The same, for a leave.
    #[error("this subscription has joined under another id")]
    LeavesOtherwise,
    /// The subscription isn't present and sent an update.
    #[error("this subscription has not joined: join first")]
    NotJoined,
    /// The subscription isn't present and sent a leave.
    #[error("this subscription has not joined")]
    NotPresent,
    /// The subscription isn't present, and only members may publish and whisper.
    #[error("only who has joined may say something here: join first")]
    NotAuthor,
    /// The stream, the record or the subscription doesn't exist, or its state has changed.
    #[error("this is no longer so")]
    Stale,
}
