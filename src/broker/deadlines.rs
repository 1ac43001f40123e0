//! When what ends. Only records of ended connections are in here, so a quiet broker has none.

use std::collections::BTreeMap;
use std::time::Instant;

/// A place in [`Deadlines`]; its order is the order of running out.
pub(super) type Deadline = (Instant, u64);

/// What runs out: a record of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) stream: u32,
    pub(super) record: u32,
}

/// Deadlines in order of time, and of their making where the time is the same.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    due: BTreeMap<Deadline, Due>,
    made: u64,
}

impl Deadlines {
    pub(super) fn add(&mut self, at: Instant, due: Due) -> Deadline {
        self.made += 1;
        self.due.insert((at, self.made), due);
        (at, self.made)
    }

    pub(super) fn cancel(&mut self, deadline: Deadline) {
        self.due.remove(&deadline);
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest deadline out if it isn't after `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Due)> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), due) = entry.remove_entry();
        Some((at, due))
    }
}
