//! What operators ask a shard, and what it answers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{mpsc, oneshot};

use crate::shard::{Attendee, Counts, StreamSize, Totals};
use crate::types::{PresenceChange, StreamName};

/// What operators want to know of a shard.
#[derive(Debug)]
pub(super) enum Question {
    /// Of the streams from a place on, the largest.
    Survey { place: usize, max: usize, answer: oneshot::Sender<Part> },
    /// The first who are present: how many of them, and how many bytes of infos.
    Attendance { stream: StreamName, max: (usize, usize), answer: oneshot::Sender<Attendance> },
    /// What happens in a stream from now on.
    Observe(Onlooker),
    /// Somebody may have stopped to look.
    Prune,
}

/// One shard's part of a survey.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) totals: Totals,
    pub(super) tally: Tally,
    pub(super) largest: Vec<StreamSize>,
    pub(super) observers: usize,
    /// Where to go on.
    pub(super) next: Option<usize>,
}

/// What a shard has done since it was started, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands followed or refused.
    pub commands: u64,
    /// Publications accepted.
    pub publications: u64,
    /// Messages for a subscriber.
    pub deliveries: u64,
    /// Members that arrived.
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

/// Who is present in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// How many.
    pub total: usize,
    /// The first of them, in order of arrival.
    pub first: Vec<Attendee>,
}

/// Whom a shard tells what happens in a stream.
#[derive(Debug)]
pub(super) struct Onlooker {
    pub(super) stream: StreamName,
    pub(super) events: mpsc::Sender<Arc<PresenceChange>>,
    pub(super) missed: Arc<AtomicU64>,
}
