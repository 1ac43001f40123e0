//! A partition on one node.

use std::collections::VecDeque;
use std::time::Instant;

use super::admission::{Admission, Refused};
use super::batch::{Batch, Item};
use super::members::{Members, Overdue};
use crate::log::{Entry, NodeId, Origin, Position};
use crate::shard::{Destination, Proposal, Settings, Shard};

/// Items of a batch, at most; more only where those of one input are adjacent.
const MAX_ITEMS: usize = 256;

/// A partition on one node: a replica of its streams, and what the node has to append.
///
/// One batch is on its way at a time, and what is proposed meanwhile gathers for the next: the more there is to do,
/// the larger the batches.
#[derive(Debug)]
pub struct Partition<R> {
    node: NodeId,
    shard: Shard<R>,
    admission: Admission,
    members: Members,
    /// Nodes that were found to be gone, and are to be excluded from all logs.
    departed: Vec<NodeId>,
    /// What to append next.
    items: VecDeque<Item>,
    /// The batch on its way: until it comes back, it may have to be appended again.
    sent: Option<Batch>,
    /// Whether it is with the engine, as far as is known.
    is_with_engine: bool,
    /// Number of the node's last batch.
    number: u64,
}

impl<R: Destination> Partition<R> {
    /// An empty partition.
    pub fn new(settings: Settings, node: NodeId, now: Instant) -> Self {
        Self {
            node,
            shard: Shard::sharing(settings, node, now),
            admission: Admission::default(),
            members: Members::default(),
            departed: Vec::new(),
            items: VecDeque::new(),
            sent: None,
            is_with_engine: false,
            number: 0,
        }
    }

    /// Its streams.
    pub fn shard(&self) -> &Shard<R> {
        &self.shard
    }

    /// The same, for inputs and outputs.
    pub fn shard_mut(&mut self) -> &mut Shard<R> {
        &mut self.shard
    }

    /// Whether the other nodes believe this one dead: nothing that it proposes counts any more.
    pub fn is_gone(&self) -> bool {
        self.knows_gone(self.node)
    }

    /// Whether a node is known to be gone.
    pub fn knows_gone(&self, node: NodeId) -> bool {
        self.admission.is_gone(node)
    }

    /// The nodes that beat in this log: only one log has beats.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Nodes that were found to be gone since the last call. All other nodes find the same, and propose
    /// [`Item::Gone`] in every log: the first one counts.
    pub fn take_departed(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.departed)
    }

    /// Whether something waits to be appended, or to come back.
    pub fn is_waiting(&self) -> bool {
        self.sent.is_some() || !self.items.is_empty() || self.shard.waiting() > 0
    }

    /// Proposes something else than a change.
    pub fn propose(&mut self, item: Item) {
        self.items.push_back(item);
    }

    /// The batch to append now, if there is one. It is appended again after
    /// [`Partition::handle_append_failed`].
    pub fn poll_append(&mut self) -> Option<&Batch> {
        if self.is_with_engine || self.is_gone() {
            return None;
        }
        self.items.extend(self.shard.take_proposals().into_iter().map(Item::Change));
        if self.sent.is_none() && !self.items.is_empty() {
            self.number += 1;
            let items = self.next_items();
            self.sent = Some(Batch { node: self.node, number: self.number, items });
        }
        self.is_with_engine = self.sent.is_some();
        self.sent.as_ref()
    }

    fn next_items(&mut self) -> Vec<Item> {
        let continues = |item: &Item| match item {
            Item::Change(proposal) => proposal.continues,
            Item::Beat { .. } | Item::Overdue { .. } | Item::Gone { .. } => false,
        };
        let mut count = MAX_ITEMS.min(self.items.len());
        while count < self.items.len() && self.items.get(count - 1).is_some_and(continues) {
            count += 1;
        }
        self.items.drain(..count).collect()
    }

    /// The engine didn't confirm the batch: it may be in the log or not.
    pub fn handle_append_failed(&mut self) {
        self.is_with_engine = false;
    }

    /// Applies a batch of any node, in the order of the log. `first` is the position of its first item, `at` the
    /// engine's time in milliseconds of the Unix epoch. `Err` is why all nodes skip it.
    pub fn apply(
        &mut self,
        first: Position,
        at: u64,
        batch: Batch,
        now: Instant,
    ) -> Result<(), Refused> {
        self.admission.admit(&batch)?;
        if self.sent.as_ref().is_some_and(|sent| is_same(sent, &batch)) {
            (self.sent, self.is_with_engine) = (None, false);
        }
        for (item, number) in batch.items.into_iter().zip(first.0..) {
            let position = Position(number);
            match item {
                Item::Change(Proposal { request, stream, change, .. }) => {
                    let origin = Origin { node: batch.node, request };
                    let entry = Entry { position, at, origin, stream, change };
                    // void: whoever proposed it is told
                    self.shard.apply(entry, now).ok();
                }
                Item::Beat { interval } => {
                    self.members.beat(batch.node, position, interval, at);
                }
                Item::Overdue { node, beat, lease } => {
                    if self.members.is_overdue(Overdue { node, beat }, lease) {
                        self.members.remove(node);
                        self.departed.push(node);
                    }
                }
                Item::Gone { node, ttl } => {
                    self.members.remove(node);
                    if self.admission.exclude(node) {
                        self.shard.end_sessions_of(node, ttl, (position, at), now);
                    }
                    if node == batch.node {
                        break; // what it says after its own end doesn't count
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_same(one: &Batch, other: &Batch) -> bool {
    (one.node, one.number) == (other.node, other.number)
}
