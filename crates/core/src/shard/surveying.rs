//! What operators see of the streams: how large each is, who is present and how, and what becomes of
//! the members of those that are looked at. Costs something only while somebody looks.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::Shard;
use crate::shard::delivery::Destination;
use crate::shard::watched::Stream;
use crate::types::{PresenceChange, PresenceId, RawJson, ServerMessage, StreamName};

/// How large a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSize {
    /// Its name.
    pub name: StreamName,
    /// How many are present.
    pub members: usize,
    /// How many follow it over an open connection.
    pub subscribers: usize,
}

impl StreamSize {
    fn of<R>(stream: &Stream<R>) -> Self {
        Self {
            name: stream.name.clone(),
            members: stream.presence.members(),
            subscribers: stream.groups.values().map(indexmap::IndexMap::len).sum(),
        }
    }

    /// Keeps the largest of some streams, those first.
    pub fn keep_largest(streams: &mut Vec<Self>, most: usize) {
        streams.sort_unstable_by(|a, b| a.rank().cmp(&b.rank()));
        streams.truncate(most);
    }

    fn rank(&self) -> impl Ord {
        let size = self.members.max(self.subscribers);
        (Reverse(size), Reverse(self.members), &self.name)
    }
}

/// One who is present in a stream, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendee {
    /// Who.
    pub id: PresenceId,
    /// What others see of them.
    pub info: RawJson,
    /// For how long; since the start of the broker, if they were there before.
    pub age: Duration,
    /// From how many sessions.
    pub records: usize,
    /// In how long they leave, if none of these has a connection.
    pub leaves_in: Option<Duration>,
}

/// The streams that are looked at, and what happened in them.
#[derive(Debug, Default)]
pub(super) struct Observed {
    streams: HashSet<StreamName, RandomState>,
    changes: Vec<(StreamName, Arc<PresenceChange>)>,
}

impl<R: Destination> Shard<R> {
    /// The `most` largest of `many` streams, the first one at a place that counts from 0, and the
    /// place to go on at.
    pub fn largest(
        &self,
        place: usize,
        many: usize,
        most: usize,
    ) -> (Vec<StreamSize>, Option<usize>) {
        let end = place.saturating_add(many);
        let places = place..end.min(self.streams.end());
        let streams = places.filter_map(|place| self.streams.get(place));
        let mut sizes: Vec<_> = streams.map(StreamSize::of).collect();
        StreamSize::keep_largest(&mut sizes, most);
        (sizes, Some(end).filter(|end| *end < self.streams.end()))
    }

    /// The first who are present in a stream, in order of arrival: `most` of them, and no more once
    /// their infos have `most_bytes`.
    pub fn attendance(
        &self,
        name: &StreamName,
        (most, most_bytes): (usize, usize),
        now: Instant,
    ) -> Vec<Attendee> {
        let Some(stream) = self.find(name).and_then(|key| self.streams.get(key as usize)) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let seen = stream.presence.seen_by_operators();
        let attendees = seen.map(|seen| Attendee {
            id: seen.id.clone(),
            info: seen.info.clone(),
            age: now.saturating_duration_since(self.ticks.began(seen.arrived)),
            records: seen.records,
            leaves_in: seen.leaves_at.map(|at| at.saturating_duration_since(now)),
        });
        let is_within = |attendee: &Attendee| {
            let was_within = bytes < most_bytes;
            bytes += attendee.info.as_str().len();
            was_within
        };
        attendees.take(most).take_while(is_within).collect()
    }

    /// Notes from here on what becomes of the members of these streams, and of no others, for
    /// [`Shard::take_observed`].
    pub fn observe(&mut self, streams: impl IntoIterator<Item = StreamName>) {
        let streams: HashSet<_, RandomState> = streams.into_iter().collect();
        self.observed =
            (!streams.is_empty()).then(|| Box::new(Observed { streams, changes: vec![] }));
    }

    /// What happened in the streams that are observed since this was last called.
    pub fn take_observed(&mut self) -> Vec<(StreamName, Arc<PresenceChange>)> {
        self.observed.as_mut().map(|seen| std::mem::take(&mut seen.changes)).unwrap_or_default()
    }

    pub(super) fn note_observed(&mut self, index: u32, message: &ServerMessage) {
        let Some(observed) = &mut self.observed else { return };
        let Some(stream) = self.streams.get(index as usize) else { return };
        if let ServerMessage::Presence(change) = message
            && message.is_event()
            && observed.streams.contains(&stream.name)
        {
            observed.changes.push((stream.name.clone(), Arc::clone(change)));
        }
    }
}
