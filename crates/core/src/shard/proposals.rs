//! What a shard of a shared log has proposed, and what waits for it.

use std::collections::VecDeque;
use std::time::Instant;

use super::input::Input;
use crate::log::{Change, Entry, NodeId, Origin};
use crate::types::StreamName;

/// A change that a node wants to be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who proposes it. Its requests are numbered in order, without gaps.
    pub origin: Origin,
    /// The stream.
    pub stream: StreamName,
    /// The change.
    pub change: Change,
}

/// What a shard of a shared log has proposed, and what waits for it.
#[derive(Debug)]
pub(super) struct Shared<R> {
    pub(super) node: NodeId,
    /// Number of the last request.
    pub(super) request: u64,
    pub(super) proposals: Vec<Proposal>,
    /// In the order of their requests, and of the inputs. The first one waits for an entry.
    pub(super) waiting: VecDeque<Waiting<R>>,
    /// Entries of what is being handled, which has yet to take them.
    pub(super) arrived: VecDeque<Entry>,
}

#[derive(Debug)]
pub(super) struct Waiting<R> {
    pub(super) task: Task<R>,
    /// Number of entries that have yet to arrive.
    pub(super) left: usize,
    pub(super) entries: VecDeque<Entry>,
}

#[derive(Debug)]
pub(super) enum Task<R> {
    Input {
        stream: StreamName,
        input: Input<R>,
        /// The client whose record is counted already.
        counted: Option<R>,
    },
    /// A change that nothing waits for. It happened then.
    Change { since: Instant },
}

impl<R> Shared<R> {
    pub(super) fn propose(&mut self, stream: StreamName, change: Change) {
        self.request += 1;
        let origin = Origin { node: self.node, request: self.request };
        self.proposals.push(Proposal { origin, stream, change });
    }
}
