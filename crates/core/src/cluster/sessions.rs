//! The sessions that the application knows, over several nodes: who tells it that they are over.
//!
//! That is the node that a session is of, as long as it is there. When it is gone, whichever node's
//! [`SessionChange::Moved`] comes first in the log takes the session over.

use std::sync::Arc;

use super::rules::Rules;
use crate::log::{KnownSessions, NodeId, Position, SessionChange, SessionState, Void};
use crate::stream::mix;
use crate::types::SessionId;

/// The rules from which on a log has sessions.
pub(super) const RULES: Rules = Rules(2);

/// What became of a change that this node has proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its number.
    pub number: u64,
    /// Whether it was made; `Err` is why it is void.
    pub result: Result<(), Void>,
}

/// A session whose node is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftSession {
    /// The session.
    pub sid: SessionId,
    /// Position at which its node was gone.
    pub at: Position,
}

/// A session that this node has taken over, to tell the application its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenSession {
    /// Its id before, which its client had.
    pub was: SessionId,
    /// Its id now.
    pub sid: SessionId,
    /// What the application knows of it.
    pub state: Arc<SessionState>,
}

/// The sessions of a log, and what this node has to do about them.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// They are replicated, and nothing else here is.
    pub(super) known: KnownSessions,
    /// Number of the last change that this node has proposed.
    number: u64,
    pub(super) changed: Vec<Changed>,
    pub(super) left: Vec<LeftSession>,
    pub(super) taken: Vec<TakenSession>,
}

impl Sessions {
    /// A number for a change that is about to be proposed.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Applies a change of some node's at its position. `own` is this node, and the number is its number for it, if it has
    /// proposed it.
    pub(super) fn apply(
        &mut self,
        at: Position,
        change: &SessionChange,
        (own, number): (NodeId, Option<u64>),
    ) {
        let result = self.known.apply(at, change);
        if let Some(number) = number {
            self.changed.push(Changed { number, result });
        }
        if let SessionChange::Moved { from, to, left: Some(_) } = change
            && result.is_ok()
            && own.has(*to)
            && let Some(session) = self.known.get(*to)
        {
            let state = Arc::clone(&session.state);
            self.taken.push(TakenSession { was: *from, sid: *to, state });
        }
        if let SessionChange::Known { sid, left: Some(at), .. } = change {
            self.left.push(LeftSession { sid: *sid, at: *at });
        }
    }

    /// A node is gone. Returns the changes that this node proposes then: if it is that node, and lives, its sessions stay
    /// its own, unless another node has them by then.
    pub(super) fn leave(
        &mut self,
        node: NodeId,
        at: Position,
        lives_here: bool,
    ) -> Vec<SessionChange> {
        let left = self.known.leave(node, at).into_iter();
        if !lives_here {
            self.left.extend(left.map(|sid| LeftSession { sid, at }));
            return Vec::new();
        }
        left.map(|sid| SessionChange::Moved { from: sid, to: sid, left: None }).collect()
    }

    /// The same for all replicas that have read as far.
    pub(super) fn digest(&self) -> u64 {
        let one = |(sid, session): (SessionId, &crate::log::KnownSession)| {
            let [high, low] = sid.halves();
            let left = session.left.unwrap_or_default();
            [high, low, session.at.0, left.0].into_iter().fold(0, mix)
        };
        self.known.iter().map(one).fold(0, u64::wrapping_add) // in no order
    }
}
