//! A node: what it has read, and what it was told of that.

use std::collections::BTreeSet;

use broker::cluster::Partition;
use broker::log::NodeId;
use broker::shard::{ParkedChange, ParkedState};
use broker::types::{SessionId, StreamName};

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) partition: Partition<usize>,
    /// Number of batches it has read.
    pub(crate) read: usize,
    /// Number of those that its snapshot has.
    pub(crate) restored: usize,
    /// Whether the engine's answer to its last append was lost.
    pub(crate) is_unanswered: bool,
    /// What it was told is parked.
    pub(crate) parked: BTreeSet<(StreamName, SessionId)>,
}

impl Node {
    pub(crate) fn note_parked(&mut self) {
        for ParkedChange { stream, by, state } in self.partition.shard_mut().take_parked() {
            let place = (stream, by.session);
            let is_so = match state {
                ParkedState::Parked(..) => self.parked.insert(place.clone()),
                ParkedState::Resumed => self.parked.contains(&place),
                ParkedState::Over => self.parked.remove(&place),
            };
            assert!(is_so, "{place:?} can't be {state:?}");
        }
    }
}
