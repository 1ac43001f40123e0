//! Streams as operators see them: sizes, members, and member events of watched streams. Costs nothing
//! while nobody watches.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shard;
use crate::shard::delivery::Destination;
use crate::shard::stream::Stream;
use crate::stream::RecordKey;
use crate::types::{PresenceChange, PresenceId, RawJson, StreamName};

/// Size of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSize {
    /// Its name.
    pub name: StreamName,
    /// Number of members.
    pub members: usize,
    /// Number of subscribers with a connection.
    pub subscribers: usize,
}

impl StreamSize {
    pub(super) fn of<R>(stream: &Stream<R>) -> Self {
        Self {
            name: stream.name.clone(),
            members: stream.state.presence().members(),
            subscribers: stream.groups.values().map(indexmap::IndexMap::len).sum(),
        }
    }

    /// Keeps the largest of some streams, those first.
    pub fn keep_largest(streams: &mut Vec<Self>, max: usize) {
        streams.sort_unstable_by(|a, b| a.rank().cmp(&b.rank()));
        streams.truncate(max);
    }

    fn rank(&self) -> impl Ord {
        let size = self.members.max(self.subscribers);
        (Reverse(size), Reverse(self.members), &self.name)
    }
}

/// A member as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendee {
    /// Its presence id.
    pub id: PresenceId,
    /// Its info.
    pub info: RawJson,
    /// Time since its arrival, to the second.
    pub age: Duration,
    /// Number of records.
    pub records: usize,
    /// Time until it leaves, if no record has a connection.
    pub leaves_in: Option<Duration>,
}

impl<R: Destination> Shard<R> {
    /// Expiry of the last of some records, if all of them expire.
    pub(super) fn leaves_at(&self, stream: u32, records: &[RecordKey]) -> Option<Instant> {
        let ends = records.iter().map(|record| self.timers.of_record(stream, *record));
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    pub(super) fn note_observed(&mut self, index: u32, change: &Arc<PresenceChange>) {
        let Some(observed) = &mut self.observed else { return };
        let stream = self.streams.live(index);
        if observed.streams.contains(&stream.name) {
            observed.changes.push((stream.name.clone(), Arc::clone(change)));
        }
    }
}
