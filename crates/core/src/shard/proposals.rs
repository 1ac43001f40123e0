//! What a shard of a shared log has proposed, and what waits for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::input::Input;
use crate::log::{Change, Entry, NodeId};
use crate::types::StreamName;

/// A change that a node wants to be in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The node's number for it: in order, without gaps.
    pub request: u64,
    /// The stream.
    pub stream: StreamName,
    /// The change.
    pub change: Change,
    /// Whether the next one comes from the same input, and has to be the next one in the log, too.
    #[serde(skip)]
    pub continues: bool,
}

/// What a shard of a shared log has proposed, and what waits for it.
#[derive(Debug)]
pub(super) struct Shared<R> {
    pub(super) node: NodeId,
    /// Number of the last request.
    pub(super) request: u64,
    /// How long this node waits with the expiry of what no living node has ended.
    pub(super) delay: Duration,
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
        self.proposals.push(Proposal { request: self.request, stream, change, continues: false });
    }

    /// Proposes the changes of one input.
    pub(super) fn propose_all(&mut self, stream: &StreamName, changes: Vec<Change>) {
        let count = changes.len();
        for change in changes {
            self.propose(stream.clone(), change);
        }
        let first = self.proposals.len() - count;
        for proposal in self.proposals.iter_mut().skip(first).take(count.saturating_sub(1)) {
            proposal.continues = true;
        }
    }
}
