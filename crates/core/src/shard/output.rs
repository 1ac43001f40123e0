//! What a shard has to say: only to be had once what it is about is kept.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::{Shard, weight};
use crate::log::Entry;
use crate::shard::delivery::{Delivery, Destination, FanOut};
use crate::shard::inspect::{Attendee, Observed, StreamSize};
use crate::types::{
    Listed, MemberList, MemberRecords, PresenceChange, PresenceId, Publication, RecordList,
    StreamName,
};

/// What a shard has to say of all that has happened so far.
#[derive(Debug)]
pub struct Output<'a, R> {
    shard: &'a mut Shard<R>,
}

/// The outcome of something whose entries may not be kept yet: [`Output::open`] tells it.
#[derive(Debug)]
#[must_use]
pub struct Unkept<T>(pub(super) T);

impl<R: Destination> Shard<R> {
    /// Hands on what has happened, to be kept before anyone is told of it; then gives what there is to
    /// say.
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

/// For how many entries there stays room.
const KEPT_ENTRIES: usize = 256;

impl<R> Deref for Output<'_, R> {
    type Target = Shard<R>;

    fn deref(&self) -> &Shard<R> {
        self.shard
    }
}

impl<R: Destination> Output<'_, R> {
    /// An outcome, of which all is kept now.
    pub fn open<T>(&self, outcome: Unkept<T>) -> T {
        outcome.0
    }

    /// What one subscriber is told. Each is due before anything that comes after it.
    pub fn poll_reply(&mut self) -> Option<Delivery<R>> {
        let reply = self.shard.replies.pop_front()?;
        self.shard.reply_weight -= weight(&reply.messages);
        Some(reply)
    }

    /// What up to `most` subscribers of a group haven't been sent yet; the streams take turns.
    /// Only once [`Output::poll_reply`] has nothing more: replies say what came first. `most` is at
    /// least 1.
    pub fn poll_fan_out(&mut self, most: usize, now: Instant) -> Option<FanOut<R>> {
        self.shard.next_fan_out(most, now)
    }

    /// Who is present in a stream, in order of arrival.
    pub fn members(&self, name: &StreamName) -> Arc<Listed<MemberList>> {
        match self.shard.find(name).and_then(|key| self.shard.streams.get(key)) {
            Some(stream) => stream.state.presence().list(),
            None => Arc::default(),
        }
    }

    /// Who is present in a stream with each record, in order of arrival.
    pub fn records(&self, name: &StreamName) -> Arc<RecordList> {
        match self.shard.find(name).and_then(|key| self.shard.streams.get(key)) {
            Some(stream) => stream.state.presence().list_records(self.shard.settings.log),
            None => Arc::default(),
        }
    }

    /// How many are present in a stream.
    pub fn member_count(&self, name: &StreamName) -> usize {
        let stream = self.shard.find(name).and_then(|key| self.shard.streams.get(key));
        stream.map_or(0, |stream| stream.state.presence().members())
    }

    /// One who is present, with each record.
    pub fn member(&self, name: &StreamName, id: &PresenceId) -> Option<MemberRecords> {
        let stream = self.shard.streams.named(name)?;
        stream.state.presence().member(id, self.shard.settings.log)
    }

    /// The newest publications that a stream keeps, as many as may be told at once, oldest first.
    pub fn publications(&self, name: &StreamName) -> Vec<Arc<Publication>> {
        let stream = self.shard.find(name).and_then(|key| self.shard.streams.get(key));
        stream.map_or_else(Vec::new, |stream| stream.history.newest(self.shard.settings.max_answer))
    }

    /// The `most` largest of `many` streams, the first one at a place that counts from 0, and the
    /// place to go on at.
    pub fn largest(
        &self,
        place: usize,
        many: usize,
        most: usize,
    ) -> (Vec<StreamSize>, Option<usize>) {
        let end = place.saturating_add(many);
        let places = place..end.min(self.shard.streams.end());
        let streams = places.filter_map(|place| self.shard.streams.at(place));
        let mut sizes: Vec<_> = streams.map(StreamSize::of).collect();
        StreamSize::keep_largest(&mut sizes, most);
        (sizes, Some(end).filter(|end| *end < self.shard.streams.end()))
    }

    /// The first who are present in a stream, in order of arrival: `most` of them, and no more once
    /// their infos have `most_bytes`.
    pub fn attendance(
        &self,
        name: &StreamName,
        (most, most_bytes): (usize, usize),
        now: Instant,
    ) -> Vec<Attendee> {
        let Some(index) = self.shard.find(name) else { return Vec::new() };
        let Some(stream) = self.shard.streams.get(index) else { return Vec::new() };
        let mut bytes = 0;
        let seen = stream.state.presence().seen_by_operators();
        let attendees = seen.map(|seen| Attendee {
            id: seen.id.clone(),
            info: seen.info.clone(),
            age: now.saturating_duration_since(self.shard.ticks.began(seen.arrived)),
            records: seen.records.len(),
            leaves_in: self
                .shard
                .leaves_at(index, &seen.records)
                .map(|at| at.saturating_duration_since(now)),
        });
        let is_within = |attendee: &Attendee| {
            let was_within = bytes < most_bytes;
            bytes += attendee.info.as_str().len();
            was_within
        };
        attendees.take(most).take_while(is_within).collect()
    }

    /// Notes from here on what becomes of the members of these streams, and of no others, for
    /// [`Output::take_observed`].
    pub fn observe(&mut self, streams: impl IntoIterator<Item = StreamName>) {
        let streams: HashSet<_, RandomState> = streams.into_iter().collect();
        self.shard.observed =
            (!streams.is_empty()).then(|| Box::new(Observed { streams, changes: vec![] }));
    }

    /// What happened in the streams that are observed since this was last called.
    pub fn take_observed(&mut self) -> Vec<(StreamName, Arc<PresenceChange>)> {
        self.shard
            .observed
            .as_mut()
            .map(|seen| std::mem::take(&mut seen.changes))
            .unwrap_or_default()
    }

    /// Some streams as they are now, the first one at a place that counts from 0, and the place to
    /// go on at; at least one stream, and no more once there are `most` entries.
    pub fn snapshot(&self, place: usize, most: usize) -> (Vec<Entry>, Option<usize>) {
        let mut entries = Vec::new();
        for place in place..self.shard.streams.end() {
            if entries.len() >= most {
                return (entries, Some(place));
            }
            if let Some(stream) = self.shard.streams.at(place) {
                self.shard.describe(stream, &mut entries);
            }
        }
        (entries, None)
    }
}
