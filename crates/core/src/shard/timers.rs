//! When what of a shard ends by itself.

use std::collections::HashMap;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::deadlines::{Deadline, Deadlines};
use super::input::SubscriberKey;
use crate::log::Subscription;
use crate::stream::RecordKey;
use crate::stream::pages::is_roomy;

/// What ends at a deadline.
#[derive(Debug)]
pub(super) enum Due {
    /// A record runs out.
    Record { stream: u32, record: RecordKey },
    /// A subscription can no longer be resumed.
    Parked { stream: u32, by: Box<Subscription> },
    /// Those who only count the members of a stream are told.
    Count { stream: u32 },
    /// A resumed subscription has had its time to ask for what it missed.
    Held { stream: u32, key: Box<SubscriberKey> },
}

impl Due {
    pub(super) const fn stream(&self) -> u32 {
        let (Self::Record { stream, .. }
        | Self::Parked { stream, .. }
        | Self::Count { stream }
        | Self::Held { stream, .. }) = self;
        *stream
    }
}

/// Deadlines, those of records by record: most records have none, so none has room for one.
#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: Deadlines<Due>,
    records: HashMap<(u32, RecordKey), Deadline, RandomState>,
}

impl Timers {
    pub(super) fn add(&mut self, at: Instant, due: Due) -> Deadline {
        self.deadlines.add(at, due)
    }

    pub(super) fn cancel(&mut self, deadline: Deadline) {
        self.deadlines.cancel(deadline);
    }

    /// Lets a record run out at a time, and at no other.
    pub(super) fn set_record(&mut self, stream: u32, record: RecordKey, at: Instant) {
        let deadline = self.deadlines.add(at, Due::Record { stream, record });
        if let Some(before) = self.records.insert((stream, record), deadline) {
            self.deadlines.cancel(before);
        }
    }

    /// Lets a record stay.
    pub(super) fn cancel_record(&mut self, stream: u32, record: RecordKey) {
        if !self.records.is_empty()
            && let Some(deadline) = self.records.remove(&(stream, record))
        {
            self.deadlines.cancel(deadline);
            self.shrink();
        }
    }

    /// When a record runs out, if it does.
    pub(super) fn of_record(&self, stream: u32, record: RecordKey) -> Option<Instant> {
        self.records.get(&(stream, record)).map(|(at, _)| *at)
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Takes the earliest deadline out if it isn't after `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Due)> {
        let (at, due) = self.deadlines.pop(now)?;
        if let Due::Record { stream, record } = due {
            self.records.remove(&(stream, record));
            self.shrink();
        }
        Some((at, due))
    }

    fn shrink(&mut self) {
        if is_roomy(self.records.len(), self.records.capacity()) {
            self.records.shrink_to(2 * self.records.len());
        }
    }
}
