//! Presence commands of the application: put and kick.

use std::time::{Duration, Instant};

use super::{Shard, Unkept};
use crate::log::{Change, Void};
use crate::shard::delivery::Destination;
use crate::types::{Join, Limit, MemberRecords, PresenceId, StreamName};

/// A record of the application, one per stream and presence id, without a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Presence id and info.
    pub join: Join,
    /// TTL; without it, the record stays until a kick.
    pub ttl: Option<Duration>,
    /// The time now, in milliseconds of the Unix epoch.
    pub at: u64,
}

/// Outcome of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Whether the record is new.
    pub is_new: bool,
    /// The member it belongs to.
    pub member: MemberRecords,
}

impl<R: Destination> Shard<R> {
    /// Adds the application's record of a presence id, or changes its info and TTL.
    pub fn put(
        &mut self,
        name: &StreamName,
        put: Put,
        now: Instant,
    ) -> Unkept<Result<Placed, Void>> {
        self.now = now;
        self.unix = put.at;
        let Put { join: Join { id, info, extra }, ttl, at } = put;
        let index = self.find_or_add(name);
        let presence = self.streams.get(index).map(|stream| stream.state.presence());
        let is_new = presence.is_none_or(|presence| presence.put_as(&id).is_none());
        let until = ttl.map(|ttl| at.saturating_add(millis(ttl)));
        let max_members = self.settings.max_members;
        let change = Change::Put { id: id.clone(), info, extra, until, max_members };
        if let Err(void) = self.commit_change(index, change, now) {
            if let Void::Full(_) = void {
                self.counts.limits.push(Limit::Members);
            }
            self.forget_if_idle(index);
            return Unkept(Err(void));
        }
        let stream = self.streams.get(index);
        let member = stream.and_then(|it| it.state.presence().member(&id, self.settings.log));
        let nobody = || MemberRecords { id: id.clone(), records: Vec::new(), extra: None };
        Unkept(Ok(Placed { is_new, member: member.unwrap_or_else(nobody) }))
    }

    /// Removes a member with all its records, and returns their number. Their subscriptions stay, and may join
    /// again.
    pub fn kick(&mut self, name: &StreamName, id: &PresenceId, now: Instant) -> Unkept<usize> {
        self.now = now;
        let Some(index) = self.find(name) else { return Unkept(0) };
        let before = self.totals.records;
        // void: there is no such member
        self.commit_change(index, Change::Kicked { id: id.clone() }, now).ok();
        let records = before - self.totals.records;
        self.forget_if_idle(index);
        Unkept(records)
    }
}

/// A duration in milliseconds, rounded up.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
