//! A change in its place.

use serde::{Deserialize, Serialize};

use super::Change;
use crate::types::{Epoch, StreamName};

/// A change of a stream that has happened, unless it is void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log.
    pub position: Position,
    /// When it got that place, in milliseconds of the Unix epoch.
    pub at: u64,
    /// Who proposed it.
    pub origin: Origin,
    /// The stream that changes.
    pub stream: StreamName,
    /// What happens.
    pub change: Change,
}

/// A place in a log. The first is 1; what follows has a higher one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position(pub u64);

impl Position {
    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A log, told apart from every other: a random number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogId(pub u64);

impl LogId {
    /// How far the names of neighbouring positions are apart: one looks nothing like the next. It is
    /// odd, so no two positions have one name.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// What is named after a position: a number that no other position of this log has, and hardly one
    /// of another log.
    pub const fn name(self, position: Position) -> u64 {
        self.0.wrapping_add(position.0.wrapping_mul(Self::STEP))
    }

    /// The epoch of a history that begins at a position.
    pub fn epoch(self, position: Position) -> Epoch {
        format!("{:x}", self.name(position)).as_str().into()
    }
}

/// A node that proposes changes, in one run of its process; 0 where there is only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// Who proposed a change, and which of its requests it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// The node's number for the request; 0 if nobody waits for the outcome.
    pub request: u64,
}

/// Why an entry changes nothing: what it was proposed for is no longer so. Everyone who applies the
/// log finds the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The stream has as many members as the change allows.
    #[error("the stream is full: at most {0} members are allowed")]
    Full(usize),
    /// The subscription is present under another id.
    #[error("this subscription has joined under another id: leave first")]
    JoinedOtherwise,
    /// As above, of one that wants to leave.
    #[error("this subscription has joined under another id")]
    LeavesOtherwise,
    /// The subscription isn't present, and wants to be seen differently.
    #[error("this subscription has not joined: join first")]
    NotJoined,
    /// The subscription isn't present, and wants to leave.
    #[error("this subscription has not joined")]
    NotPresent,
    /// The subscription isn't present, and only who is may speak.
    #[error("only who has joined may say something here: join first")]
    NotAuthor,
    /// The stream, the record or the subscription isn't there, or not in that state any more.
    #[error("this is no longer so")]
    Stale,
}
