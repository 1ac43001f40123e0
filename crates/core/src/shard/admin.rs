//! Presence commands of the application: put and kick.

use std::time::{Duration, Instant};

use super::Shard;
use super::put::{Placed, Put};
use crate::log::{Change, Void};
use crate::shard::delivery::Destination;
use crate::types::{Join, Limit, PresenceId, StreamName};

impl<R: Destination> Shard<R> {
    /// Adds the application's record of a presence id, or changes its info and TTL.
    pub(super) fn put(
        &mut self,
        name: &StreamName,
        put: Put,
        now: Instant,
    ) -> Result<Placed, Void> {
        let Put { join: Join { id, info, extra }, ttl } = put;
        let index = self.find_or_add(name);
        let is_new = self.streams.live(index).state.presence().put_as(&id).is_none();
        let until = ttl.map(|ttl| self.unix.saturating_add(millis(ttl)));
        let max_members = self.settings.max_members;
        let change = Change::Put { id: id.clone(), info, extra, until, max_members };
        if let Err(void) = self.commit_change(index, change, now) {
            if let Void::Full(_) = void {
                self.counts.limits.push(Limit::Members);
            }
            self.forget_if_idle(index);
            return Err(void);
        }
        let member = self.streams.live(index).state.presence().member(&id, self.settings.log);
        Ok(Placed { is_new, member: member.unwrap_or_else(|| unreachable!("it has a record now")) })
    }

    /// Removes a member with all its records, and returns their number.
    pub(super) fn kick(&mut self, name: &StreamName, id: PresenceId, now: Instant) -> usize {
        let Some(index) = self.find(name) else { return 0 };
        let before = self.totals.records;
        self.commit_change(index, Change::Kicked { id }, now).ok(); // void: there is no such member
        let records = before - self.totals.records;
        self.forget_if_idle(index);
        records
    }
}

/// A duration in milliseconds, rounded up.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
