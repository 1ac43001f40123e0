//! Batches: what a node appends to a log at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asks::{Answer, Ask, AskId};
use super::digest::Digest;
use super::rules::Rules;
use crate::log::{NodeId, Position, SessionChange};
use crate::shard::Proposal;

/// What a node appends to a log at a time. Its items get adjacent positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The rules by which it is written.
    pub rules: Rules,
    /// The node.
    pub node: NodeId,
    /// The node's incarnation: from 1, and one more each time the others have believed it dead.
    pub incarnation: u32,
    /// Its number among the batches of this incarnation for this log: from 1, without gaps.
    pub number: u64,
    /// What it appends.
    pub items: Vec<Item>,
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A change of a stream.
    Change(Proposal),
    /// The node lives.
    Beat {
        /// Time after which its next beat is due.
        interval: Duration,
        /// The newest rules that it knows.
        knows: Rules,
    },
    /// A node's beats have stayed out. Void if that isn't so.
    Overdue {
        /// The node.
        node: NodeId,
        /// Its last beat.
        beat: Position,
        /// Time for which they have stayed out, by the clock of the log.
        lease: Duration,
    },
    /// A node is gone: its connections have ended here, and nothing counts that this incarnation appends from here
    /// on. Void if a later one has appended.
    Gone {
        /// The node.
        node: NodeId,
        /// Its incarnation.
        incarnation: u32,
        /// The TTL of its records.
        ttl: Duration,
    },
    /// The node asks all nodes to do something, or one of them.
    Ask {
        /// Its number for it.
        number: u64,
        /// The one, if it is one.
        of: Option<NodeId>,
        /// What.
        ask: Ask,
    },
    /// The node has done what it was asked.
    Answer {
        /// Who asked.
        to: AskId,
        /// What came of it.
        answer: Answer,
    },
    /// What the node has, or had as of an earlier position: whoever has noted another digest there differs from it.
    Digest(Digest),
    /// The rules are these from the next batch on. Void unless they are the next ones, and all members know them. It is
    /// the last item of its batch.
    Rules(Rules),
    /// A change of what the application knows of a session.
    Session {
        /// The node's number for it; 0 if nobody waits for what becomes of it.
        number: u64,
        /// The change.
        change: SessionChange,
    },
}
