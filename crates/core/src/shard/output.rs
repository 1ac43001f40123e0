//! Output of a shard, available only after its entries are kept.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::{Shard, weight};
use crate::log::Entry;
use crate::shard::delivery::{Delivery, Destination, FanOut};
use crate::shard::inspect::{Attendee, StreamSize};
use crate::shard::observed::Observed;
use crate::shard::outcome::{Outcome, Ticket};
use crate::types::{
    CachedList, MemberList, MemberRecords, PresenceChange, PresenceId, Publication, RecordList,
    StreamName,
};

/// Output of a shard, of all entries so far.
#[derive(Debug)]
pub struct Output<'a, R> {
    shard: &'a mut Shard<R>,
}

impl<R: Destination> Shard<R> {
    /// Passes the entries since the last commit to `keep`, and then returns the output they led to.
    pub fn commit(&mut self, keep: impl FnOnce(&[Entry])) -> Output<'_, R> {
        if let Some(entries) = &mut self.entries
            && !entries.is_empty()
        {
            keep(entries);
            entries.clear();
            if entries.capacity() > KEPT_ENTRIES {
                *entries = Vec::new();
            }
        }
        Output { shard: self }
    }
}

/// Entries for which memory is retained.
const KEPT_ENTRIES: usize = 256;

impl<R> Deref for Output<'_, R> {
    type Target = Shard<R>;

    fn deref(&self) -> &Shard<R> {
        self.shard
    }
}

impl<R: Destination> Output<'_, R> {
    /// The next outcome of a request, in order.
    pub fn poll_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        self.shard.outcomes.pop_front()
    }

    /// The next reply to one subscriber, in order.
    pub fn poll_reply(&mut self) -> Option<Delivery<R>> {
        let reply = self.shard.replies.pop_front()?;
        self.shard.reply_weight -= weight(&reply.messages);
        Some(reply)
    }

    /// Unsent messages of up to `max` (at least 1) subscribers of a group; streams take turns. Poll the
    /// replies to the end first: they come before.
    pub fn poll_fan_out(&mut self, max: usize, now: Instant) -> Option<FanOut<R>> {
        self.shard.next_fan_out(max, now)
    }

    /// Members of a stream, in order of arrival.
    pub fn members(&self, name: &StreamName) -> Arc<CachedList<MemberList>> {
        match self.shard.streams.named(name) {
            Some(stream) => stream.state.presence().list(),
            None => Arc::default(),
        }
    }

    /// Members of a stream with their records, in order of arrival.
    pub fn records(&self, name: &StreamName) -> Arc<RecordList> {
        match self.shard.streams.named(name) {
            Some(stream) => stream.state.presence().list_records(self.shard.settings.log),
            None => Arc::default(),
        }
    }

    /// Number of members of a stream.
    pub fn member_count(&self, name: &StreamName) -> usize {
        let stream = self.shard.streams.named(name);
        stream.map_or(0, |stream| stream.state.presence().members())
    }

    /// A member with its records.
    pub fn member(&self, name: &StreamName, id: &PresenceId) -> Option<MemberRecords> {
        let stream = self.shard.streams.named(name)?;
        stream.state.presence().member(id, self.shard.settings.log)
    }

    /// Publications in a stream's history, oldest first: the newest ones that fit in one reply.
    pub fn publications(&self, name: &StreamName) -> Vec<Arc<Publication>> {
        let stream = self.shard.streams.named(name);
        stream.map_or_else(Vec::new, |stream| stream.history.newest(self.shard.settings.max_answer))
    }

    /// The `max` largest of the `many` streams from a place on, which counts from 0, and the next place.
    pub fn largest(
        &self,
        place: usize,
        many: usize,
        max: usize,
    ) -> (Vec<StreamSize>, Option<usize>) {
        let end = place.saturating_add(many);
        let places = place..end.min(self.shard.streams.end());
        let streams = places.filter_map(|place| self.shard.streams.at(place));
        let mut sizes: Vec<_> = streams.map(StreamSize::of).collect();
        StreamSize::keep_largest(&mut sizes, max);
        (sizes, Some(end).filter(|end| *end < self.shard.streams.end()))
    }

    /// First members of a stream, in order of arrival: at most `max`, and none after `max_bytes` of
    /// infos.
    pub fn attendance(
        &self,
        name: &StreamName,
        (max, max_bytes): (usize, usize),
        now: Instant,
    ) -> Vec<Attendee> {
        let Some(index) = self.shard.find(name) else { return Vec::new() };
        let stream = self.shard.streams.live(index);
        let mut bytes = 0;
        let seen = stream.state.presence().seen_by_operators();
        let attendees = seen.map(|seen| Attendee {
            id: seen.id.clone(),
            info: seen.info.clone(),
            age: Duration::from_millis(self.shard.unix)
                .saturating_sub(Duration::from_secs(seen.arrived.into())),
            records: seen.records.len(),
            leaves_in: self
                .shard
                .leaves_at(index, &seen.records)
                .map(|at| at.saturating_duration_since(now)),
        });
        let is_within = |attendee: &Attendee| {
            let was_within = bytes < max_bytes;
            bytes += attendee.info.as_str().len();
            was_within
        };
        attendees.take(max).take_while(is_within).collect()
    }

    /// Sets the streams whose member events [`Output::take_observed`] returns from now on.
    pub fn observe(&mut self, streams: impl IntoIterator<Item = StreamName>) {
        let streams: HashSet<_, RandomState> = streams.into_iter().collect();
        self.shard.observed =
            (!streams.is_empty()).then(|| Box::new(Observed { streams, changes: vec![] }));
    }

    /// Member events of the observed streams since the last call.
    pub fn take_observed(&mut self) -> Vec<(StreamName, Arc<PresenceChange>)> {
        self.shard
            .observed
            .as_mut()
            .map(|seen| std::mem::take(&mut seen.changes))
            .unwrap_or_default()
    }

    /// Snapshot of the streams from a place on, which counts from 0, and the next place: at least one stream,
    /// and no more after `max` entries.
    pub fn snapshot(&self, place: usize, max: usize) -> (Vec<Entry>, Option<usize>) {
        self.shard.snapshot_from(place, max)
    }
}
