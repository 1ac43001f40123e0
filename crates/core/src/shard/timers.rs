//! Timers of a shard.

use std::collections::HashMap;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::deadlines::{Deadline, Deadlines};
use super::input::SubscriberKey;
use crate::log::Subscription;
use crate::stream::RecordKey;
use crate::stream::pages::is_roomy;

/// What a timer is for.
#[derive(Debug)]
pub(super) enum Due {
    /// A record expires.
    Record { stream: u32, record: RecordKey },
    /// A subscription can no longer be resumed.
    Parked { stream: u32, by: Box<Subscription> },
    /// An occupancy message is due.
    Count { stream: u32 },
    /// A hold ends.
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

/// Timers by time, and those of records by record. Most records have none, so records have no field for
/// it.
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

    /// Sets or replaces a record's timer.
    pub(super) fn set_record(&mut self, stream: u32, record: RecordKey, at: Instant) {
        let deadline = self.deadlines.add(at, Due::Record { stream, record });
        if let Some(before) = self.records.insert((stream, record), deadline) {
            self.deadlines.cancel(before);
        }
    }

    /// Cancels a record's timer, or forgets it if it has fired.
    pub(super) fn cancel_record(&mut self, stream: u32, record: RecordKey) {
        if !self.records.is_empty()
            && let Some(deadline) = self.records.remove(&(stream, record))
        {
            self.deadlines.cancel(deadline);
            if is_roomy(self.records.len(), self.records.capacity()) {
                self.records.shrink_to(2 * self.records.len());
            }
        }
    }

    /// A record's expiry.
    pub(super) fn of_record(&self, stream: u32, record: RecordKey) -> Option<Instant> {
        self.records.get(&(stream, record)).map(|(at, _)| *at)
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Takes the earliest deadline out if it isn't after `now`. A record's is known until it is cancelled.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Due)> {
        self.deadlines.pop(now)
    }
}
