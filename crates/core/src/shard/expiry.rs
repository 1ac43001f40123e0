//! Expiry: of records by their TTL, of parked subscriptions, of publications and of journal entries.
//!
//! How long a record stays is decided by its stream's state, as an [`Expiry`](crate::stream::Expiry): the effect of an
//! entry. The shard sets a timer then. When it fires, the shard commits a change, which is void if the record was
//! taken over meanwhile.

use std::time::{Duration, Instant};

use super::Shard;
use crate::log::{Change, Subscription};
use crate::shard::delivery::Destination;
use crate::shard::timers::Timer;
use crate::stream::RecordKey;
use crate::types::DropCause;

/// Maximum of records, and of streams, that expire in one turn.
const EXPIRED_AT_ONCE: usize = 512;

/// A time after another one, at most a century.
pub(super) fn after(since: Instant, time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    since.checked_add(time.min(CENTURY)).unwrap_or(since)
}

impl<R: Destination> Shard<R> {
    /// Whether [`Shard::handle_timeout`] has more to do now.
    pub fn is_expiring(&self) -> bool {
        self.is_expiring
    }

    /// Time of the next [`Shard::handle_timeout`] or delayed [`Output::poll_fan_out`](super::Output::poll_fan_out).
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_deadline(), self.paused.next()].into_iter().flatten().min()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let all = [self.timers.next(), self.expiries.next(), self.journals.next()];
        all.into_iter().flatten().min()
    }

    /// Expires records, subscriptions and publications: a bounded number per call, and none while unsent
    /// messages should go first. Ask [`Shard::poll_timeout`] again.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        for _ in 0..EXPIRED_AT_ONCE {
            if self.is_over_backlog() && self.has_fan_out() {
                break;
            }
            let Some((deadline, timer)) = self.timers.pop(now) else { break };
            let stream = timer.stream();
            match timer {
                Timer::Record { stream, record } => {
                    self.counts.expired.push(deadline);
                    self.expire(stream, record, now);
                }
                Timer::Parked { stream, by } => self.lapse(stream, *by, now),
                Timer::Occupancy { stream } => self.send_occupancy(stream, now),
                Timer::Hold { stream, key } => self.release(stream, &key),
                Timer::Idle { stream } => self.idle_for_long(stream),
            }
            self.forget_if_idle(stream);
        }
        for _ in 0..EXPIRED_AT_ONCE {
            let Some((_, stream)) = self.expiries.pop(now) else { break };
            self.drop_expired(stream, now);
        }
        for _ in 0..EXPIRED_AT_ONCE {
            let Some((_, stream)) = self.journals.pop(now) else { break };
            self.tidy(stream, now);
        }
        self.is_expiring = self.next_deadline().is_some_and(|due| due <= now);
    }

    /// Expires a record, whose timer has fired.
    pub(super) fn expire(&mut self, index: u32, record: RecordKey, now: Instant) {
        let stream = self.streams.live(index);
        if let Some((id, position, reason)) = stream.state.presence().expiry_of(record) {
            let change = Change::Expired { id: id.clone(), record: position, reason };
            if self.commit_change(index, change, now).is_ok() {
                return;
            }
        }
        self.timers.cancel_record(index, record);
    }

    /// Ends a parked subscription. Its record, if it has one, is an orphan then.
    pub(super) fn lapse(&mut self, index: u32, by: Subscription, now: Instant) {
        let Some(parked) = self.streams.live(index).state.parked(&by) else { return };
        let change = Change::Lapsed { by, parked: parked.at };
        self.commit_change(index, change, now).ok(); // it is never void
    }

    /// Drops the expired publications of a stream.
    pub(super) fn drop_expired(&mut self, stream: u32, now: Instant) {
        while self.next_expiry(stream).is_some_and(|expires| expires <= now) {
            self.drop_oldest(stream, DropCause::Expired);
        }
        self.await_expiry(stream);
    }
}
