//! What operators see of the streams: how large each is, who is present and how, and what becomes of
//! the members of those that are looked at. Costs something only while somebody looks.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::Shard;
use crate::shard::delivery::Destination;
use crate::shard::stream::Stream;
use crate::stream::RecordKey;
use crate::types::{PresenceChange, PresenceId, RawJson, StreamName};

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
    pub(super) fn of<R>(stream: &Stream<R>) -> Self {
        Self {
            name: stream.name.clone(),
            members: stream.state.presence().members(),
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
    pub(super) streams: HashSet<StreamName, RandomState>,
    pub(super) changes: Vec<(StreamName, Arc<PresenceChange>)>,
}

impl<R: Destination> Shard<R> {
    /// When the last of some records runs out, if all do.
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
