//! What the application itself says about who is present: it puts records of its own, and takes
//! out whom it wants out.

use std::time::{Duration, Instant};

use super::{Due, Shard};
use crate::shard::delivery::Destination;
use crate::stream::presence::{Owner, RecordKey};
use crate::types::{Join, JoinCause, LeaveCause, MemberRecords, PresenceId, StreamName};

/// A record of the application's own. It has one for a presence id in a stream, and no connection
/// holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Who is present, and what others see of them.
    pub join: Join,
    /// How long, unless it is put again; without it until the application takes it out.
    pub ttl: Option<Duration>,
    /// The time now, in milliseconds of the Unix epoch.
    pub at: u64,
}

/// What became of a record that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Whether it is new, rather than one of before with other contents.
    pub is_new: bool,
    /// The member it belongs to.
    pub member: MemberRecords,
}

/// A stream has as many members as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is full: at most {0} members are allowed")]
pub struct Full(pub usize);

impl<R: Destination> Shard<R> {
    /// Puts a record of the application's own, or gives the one it has put under this presence id
    /// another info and another time.
    pub fn put(&mut self, name: &StreamName, put: Put, now: Instant) -> Result<Placed, Full> {
        self.now = now;
        let Put { join, ttl, at } = put;
        let index = self.find_or_add(name);
        self.check_room(index, &join.id).inspect_err(|_| self.forget_if_idle(index))?;
        let until = ttl.map(|ttl| at.saturating_add(millis(ttl)));
        let join = match self.streams.get(index as usize) {
            Some(stream) => stream.presence.with_extra(join),
            None => join,
        };
        let id = join.id.clone();
        let is_new = self.put_record(index, join, until, ttl.map(|ttl| now + ttl), now);
        let member = self.member(name, &id).unwrap_or(MemberRecords {
            id,
            records: Vec::new(),
            extra: None,
        });
        Ok(Placed { is_new, member })
    }

    /// Takes a member out, with every record of it, whoever holds it. Whoever was present through a
    /// subscription follows the stream still, and may join again. Gives how many records went.
    pub fn kick(&mut self, name: &StreamName, id: &PresenceId, now: Instant) -> usize {
        self.now = now;
        let Some(index) = self.find(name) else { return 0 };
        let Some(stream) = self.streams.get_mut(index as usize) else { return 0 };
        let records: Vec<RecordKey> = stream.presence.records_of(id).collect();
        if !records.is_empty() {
            for held in stream.groups.values_mut() {
                let presence = &stream.presence;
                let is_theirs = |record: &mut RecordKey| presence.id_of(*record) == Some(id);
                for subscriber in held.values_mut() {
                    if subscriber.record.take_if(is_theirs).is_some() {
                        subscriber.recipient.remove_record();
                    }
                }
            }
        }
        for record in &records {
            self.remove_record(index, *record, LeaveCause::Kicked, now);
        }
        self.forget_if_idle(index);
        records.len()
    }

    /// One who is present, with each record.
    pub fn member(&self, name: &StreamName, id: &PresenceId) -> Option<MemberRecords> {
        self.streams.get(self.find(name)? as usize)?.presence.member(id)
    }

    /// Puts a record of the application's that goes at a time by one clock and by the other;
    /// whether there was none.
    pub(super) fn put_record(
        &mut self,
        index: u32,
        join: Join,
        until: Option<u64>,
        deadline: Option<Instant>,
        now: Instant,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        let before = stream.presence.applications(&join.id);
        let kept = join.clone();
        let (record, change) = if let Some(record) = before {
            (record, stream.presence.update(record, join.info, join.extra))
        } else {
            let (record, change) = stream.presence.add(join);
            self.totals.records += 1;
            (record, Some(change))
        };
        stream.presence.set_owner(record, Owner::Application { until });
        self.set_deadline(index, record, deadline);
        self.keep_put(index, &kept, until);
        if let Some(change) = change {
            self.tell_join(index, change, JoinCause::Put, now);
        }
        before.is_none()
    }

    /// Lets a record go at another time than it would have gone, or not by itself.
    pub(super) fn set_deadline(&mut self, index: u32, record: RecordKey, at: Option<Instant>) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let Some(deadline) = stream.presence.deadline_mut(record) else { return };
        if let Some(old) = deadline.take() {
            self.deadlines.cancel(old);
        }
        *deadline = at.map(|at| self.deadlines.add(at, Due::Record { stream: index, record }));
    }
}

/// A time in whole milliseconds, and none that is over too early.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
