//! When what ends.

use std::collections::BTreeMap;
use std::time::Instant;

/// A place in [`Deadlines`]; its order is the order of running out.
pub(crate) type Deadline = (Instant, u64);

/// Deadlines in order of time, and of their making where the time is the same.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    due: BTreeMap<Deadline, T>,
    made: u64,
    /// Number of the deadline that was taken out last.
    popped: u64,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), made: 0, popped: 0 }
    }
}

impl<T> Deadlines<T> {
    pub(crate) fn add(&mut self, at: Instant, due: T) -> Deadline {
        self.made += 1;
        self.due.insert((at, self.made), due);
        (at, self.made)
    }

    pub(crate) fn cancel(&mut self, deadline: Deadline) {
        if deadline.1 != self.popped {
            self.due.remove(&deadline);
        }
    }

    pub(crate) fn get(&self, deadline: Deadline) -> Option<&T> {
        self.due.get(&deadline)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest deadline out, whatever the time.
    pub(crate) fn pop_first(&mut self) -> Option<(Instant, T)> {
        let ((at, number), due) = self.due.pop_first()?;
        self.popped = number;
        Some((at, due))
    }

    /// Takes the earliest deadline out if it isn't after `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, T)> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, number), due) = entry.remove_entry();
        self.popped = number;
        Some((at, due))
    }
}
