//! Counters and totals of a shard.

use std::time::Instant;

use crate::types::{CommandKind, DropCause, JoinCause, LeaveCause, Limit, UpdateCause};

/// Counts since the last call. Lists have an entry per event.
#[derive(Debug, Default)]
pub struct Counts {
    /// Commands, accepted (`true`) or refused.
    pub commands: Vec<(CommandKind, bool)>,
    /// Limits that refused commands and puts exceeded.
    pub limits: Vec<Limit>,
    /// Publications accepted, of the application and of clients. They are counted where they are accepted: an
    /// effect would count them on each node of a shared log, and not those that no stream needs an entry for.
    pub publications: u64,
    /// Members that joined.
    pub joins: Vec<JoinCause>,
    /// Members that left.
    pub leaves: Vec<LeaveCause>,
    /// Members whose info changed.
    pub updates: Vec<UpdateCause>,
    /// Requests for history, answered (`true`) or refused.
    pub histories: Vec<bool>,
    /// Causes for which publications were dropped.
    pub dropped: Vec<DropCause>,
    /// Deadlines of records that expired.
    pub expired: Vec<Instant>,
    /// Start times of completed fan-outs: when the first unsent message was added.
    pub fan_outs: Vec<Instant>,
}

/// Capacity of a list above which it isn't reused, in entries.
const KEPT: usize = 4096;

impl Counts {
    /// Whether a list has grown too large to be reused.
    pub fn is_large(&self) -> bool {
        let lists = [
            self.commands.capacity(),
            self.limits.capacity(),
            self.joins.capacity(),
            self.leaves.capacity(),
            self.updates.capacity(),
            self.histories.capacity(),
            self.dropped.capacity(),
            self.expired.capacity(),
            self.fan_outs.capacity(),
        ];
        lists.into_iter().any(|room| room > KEPT)
    }
}

/// Totals of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams with subscribers, members, history or parked subscriptions.
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
