//! What a shard of a shared log has proposed, and what waits for it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::deadlines::Deadline;
use super::input::Input;
use super::outcome::Ticket;
use super::parked::ParkedChange;
use crate::log::{Change, Entry, NodeId, Subscription};
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

impl Proposal {
    /// The subscription whose presence it ends, if it does.
    pub(crate) fn ended(&self) -> Option<(StreamName, Subscription)> {
        let (Change::Left { by, .. } | Change::Ended { by, .. } | Change::Unsubscribed { by }) =
            &self.change
        else {
            return None;
        };
        Some((self.stream.clone(), by.clone()))
    }
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
    /// What has been parked, and what no longer is, since that was last asked for.
    pub(super) parked: Vec<ParkedChange>,
    /// What it is about to say of the use of streams.
    pub(super) plans: HashMap<u32, Plan, RandomState>,
}

/// What a node is about to say of a stream's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// That it is idle, or forgotten, if it is idle here until then.
    Waits(Deadline),
    /// It has said so, and that isn't in the log yet.
    Proposed,
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
    /// An input whose changes depend on those of an earlier one, which are proposed in its turn.
    Later { stream: StreamName, input: Input<R> },
    /// Its outcome is [`Outcome::Synced`](super::Outcome::Synced).
    Sync(Ticket),
    /// A change that nothing waits for. It happened then.
    Change { since: Instant },
}

impl<R> Shared<R> {
    pub(super) fn propose(&mut self, stream: StreamName, change: Change) {
        self.request += 1;
        self.proposals.push(Proposal { request: self.request, stream, change, continues: false });
    }

    /// Proposes a change that nothing waits for.
    pub(super) fn propose_alone(&mut self, stream: StreamName, change: Change, since: Instant) {
        self.propose(stream, change);
        let task = Task::Change { since };
        self.waiting.push_back(Waiting { task, left: 1, entries: VecDeque::new() });
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
