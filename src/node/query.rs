//! Queries of the dashboard, and their answers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{mpsc, oneshot};

use crate::shard::{Attendee, Counts, StreamSize, Totals};
use crate::types::{PresenceChange, StreamName};

/// A query to one shard.
#[derive(Debug)]
pub(super) enum Query {
    /// Sizes of its largest streams, from an index on.
    Survey { place: usize, max: usize, answer: oneshot::Sender<Part> },
    /// The first members of a stream, up to a number of members and of bytes of their infos.
    Attendance { stream: StreamName, max: (usize, usize), answer: oneshot::Sender<Attendance> },
    /// Subscribes to a stream's member events.
    Observe(ObserverSender),
    /// Cleans up after an observer that may have gone.
    Prune,
}

/// One shard's part of the answer.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) totals: Totals,
    pub(super) tally: Tally,
    pub(super) largest: Vec<StreamSize>,
    pub(super) observers: usize,
    /// Where the next query has to continue.
    pub(super) next: Option<usize>,
}

/// Counters of a shard since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands from clients, accepted or refused.
    pub commands: u64,
    /// Publications accepted, of the application and of clients.
    pub publications: u64,
    /// Messages sent to subscribers.
    pub deliveries: u64,
    /// Members that joined.
    pub joins: u64,
    /// Members that left.
    pub leaves: u64,
}

impl Tally {
    pub(super) fn add(&mut self, counts: &Counts, deliveries: usize) {
        self.commands += counts.commands.len() as u64;
        self.publications += counts.publications;
        self.deliveries += deliveries as u64;
        self.joins += counts.joins.len() as u64;
        self.leaves += counts.leaves.len() as u64;
    }
}

/// Members of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// Their number.
    pub total: usize,
    /// The first of them, in order of arrival.
    pub first: Vec<Attendee>,
}

/// Where a shard sends a stream's member events.
#[derive(Debug)]
pub(super) struct ObserverSender {
    pub(super) stream: StreamName,
    pub(super) events: mpsc::Sender<Arc<PresenceChange>>,
    pub(super) missed: Arc<AtomicU64>,
}
