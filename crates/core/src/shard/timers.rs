//! Timers of a shard.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::deadlines::{Deadline, Deadlines};
use super::input::SubscriberKey;
use crate::log::Subscription;
use crate::stream::RecordKey;
use crate::stream::pages::is_roomy;

/// What a timer is for.
#[derive(Debug)]
pub(super) enum Timer {
    /// A record expires.
    Record { stream: u32, record: RecordKey },
    /// A subscription can no longer be resumed.
    Parked { stream: u32, by: Box<Subscription> },
    /// An occupancy message is due.
    Occupancy { stream: u32 },
    /// A hold ends.
    Hold { stream: u32, key: Box<SubscriberKey> },
    /// A stream of a shared log has been idle for long.
    Idle { stream: u32 },
}

impl Timer {
    pub(super) const fn stream(&self) -> u32 {
        let (Self::Record { stream, .. }
        | Self::Parked { stream, .. }
        | Self::Occupancy { stream }
        | Self::Hold { stream, .. }
        | Self::Idle { stream }) = self;
        *stream
    }
}

/// Timers by time, and those of records and parked subscriptions by what they are for. They aren't part of
/// the replicated state, and most records have none.
#[derive(Debug, Default)]
pub(super) struct Timers {
    deadlines: Deadlines<Timer>,
    records: HashMap<(u32, RecordKey), Deadline, RandomState>,
    /// By subscription, which [`Timer::Parked`] has.
    parked: HashTable<Deadline>,
    hasher: RandomState,
}

impl Timers {
    pub(super) fn add(&mut self, at: Instant, timer: Timer) -> Deadline {
        self.deadlines.add(at, timer)
    }

    pub(super) fn cancel(&mut self, deadline: Deadline) {
        self.deadlines.cancel(deadline);
    }

    /// Sets or replaces a record's timer.
    pub(super) fn set_record(&mut self, stream: u32, record: RecordKey, at: Instant) {
        let deadline = self.deadlines.add(at, Timer::Record { stream, record });
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

    /// Sets the timer of a parked subscription, which has none.
    pub(super) fn set_parked(&mut self, stream: u32, by: Subscription, at: Instant) {
        let Self { deadlines, parked, hasher, .. } = self;
        let hash = hasher.hash_one((stream, &by));
        let deadline = deadlines.add(at, Timer::Parked { stream, by: Box::new(by) });
        parked.insert_unique(hash, deadline, |timer| hash_of(deadlines, hasher, *timer));
    }

    /// Cancels the timer of a parked subscription, unless it has fired.
    pub(super) fn cancel_parked(&mut self, stream: u32, by: &Subscription) {
        let is_its = |timer: Option<&Timer>| match timer {
            Some(Timer::Parked { stream: other, by: it }) => *other == stream && **it == *by,
            _ => false,
        };
        if let Some(deadline) = self.remove_parked((stream, by), is_its) {
            self.deadlines.cancel(deadline);
        }
    }

    /// Removes a subscription's deadline, if there is one whose [`Timer`] fits.
    fn remove_parked(
        &mut self,
        of: (u32, &Subscription),
        fits: impl Fn(Option<&Timer>) -> bool,
    ) -> Option<Deadline> {
        let Self { deadlines, parked, hasher, .. } = self;
        let found = |timer: &Deadline| fits(deadlines.get(*timer));
        let (deadline, _) = parked.find_entry(hasher.hash_one(of), found).ok()?.remove();
        if is_roomy(parked.len(), parked.capacity()) {
            parked.shrink_to(2 * parked.len(), |timer| hash_of(deadlines, hasher, *timer));
        }
        Some(deadline)
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Takes the earliest deadline out if it isn't after `now`. A record's is known until it is cancelled.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        let fired = self.deadlines.pop(now);
        if let Some((_, Timer::Parked { stream, by })) = &fired {
            self.remove_parked((*stream, by), |timer| timer.is_none()); // only the fired one has none
        }
        fired
    }
}

/// Hash of the subscription that a deadline is for.
fn hash_of(deadlines: &Deadlines<Timer>, hasher: &RandomState, deadline: Deadline) -> u64 {
    match deadlines.get(deadline) {
        Some(Timer::Parked { stream, by }) => hasher.hash_one((*stream, &**by)),
        _ => unreachable!("the deadlines of parked subscriptions haven't fired"),
    }
}
