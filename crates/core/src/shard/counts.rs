//! What a shard has done and what it holds, as numbers.

use std::time::{Duration, Instant};

use crate::types::{CommandKind, DropCause, JoinCause, LeaveCause, Limit, UpdateCause};

/// What a shard did since it was last asked.
#[derive(Debug, Default)]
pub struct Counts {
    /// Commands followed (`true`) or refused.
    pub commands: Vec<(CommandKind, bool)>,
    /// For each command refused for a limit, which.
    pub limits: Vec<Limit>,
    /// Publications accepted.
    pub publications: u64,
    /// Members that arrived.
    pub joins: Vec<JoinCause>,
    /// Members that left.
    pub leaves: Vec<LeaveCause>,
    /// Members whose info changed.
    pub updates: Vec<UpdateCause>,
    /// Requests for history that were answered in full (`true`) or refused.
    pub histories: Vec<bool>,
    /// For each publication that is no longer kept, why.
    pub dropped: Vec<DropCause>,
    /// For each record that ran out, how late that was noticed.
    pub expiry_lags: Vec<Duration>,
    /// For each time all of a stream's subscribers had been told: since when one lacked something.
    pub fan_outs: Vec<Instant>,
}

/// How much room is kept for what is counted in a turn, in entries of one kind.
const KEPT: usize = 4096;

impl Counts {
    /// Whether it has room for so much that it isn't worth being kept.
    pub fn is_large(&self) -> bool {
        let lists = [
            self.commands.capacity(),
            self.limits.capacity(),
            self.joins.capacity(),
            self.leaves.capacity(),
            self.updates.capacity(),
            self.histories.capacity(),
            self.dropped.capacity(),
            self.expiry_lags.capacity(),
            self.fan_outs.capacity(),
        ];
        lists.into_iter().any(|room| room > KEPT)
    }
}

/// What a shard holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams with subscribers, members or history.
    pub streams: usize,
    /// Subscriptions of open connections.
    pub subscriptions: usize,
    /// Subscriptions without a connection that can be resumed.
    pub parked: usize,
    /// Members present.
    pub members: usize,
    /// Presence records.
    pub records: usize,
    /// Publications kept.
    pub publications: usize,
    /// Bytes they take.
    pub history_bytes: usize,
}
