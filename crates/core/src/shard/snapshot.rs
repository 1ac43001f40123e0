//! Entries for the log on disk: new ones, and snapshots of streams.

use super::Shard;
use crate::log::{Change, Entry, Origin, Position};
use crate::shard::delivery::Destination;
use crate::shard::stream::Stream;
use crate::stream::Usage;
use crate::types::Offset;

impl<R: Destination> Shard<R> {
    /// Keeps every lasting entry from now on, for [`Shard::commit`].
    pub fn keep_entries(&mut self) {
        self.entries.get_or_insert_default();
    }

    /// Snapshot of the streams from a place on: see [`Output::snapshot`](super::Output::snapshot).
    pub(crate) fn snapshot_from(&self, place: usize, max: usize) -> (Vec<Entry>, Option<usize>) {
        let mut entries = Vec::new();
        for place in place..self.streams.end() {
            if entries.len() >= max {
                return (entries, Some(place));
            }
            if let Some(stream) = self.streams.at(place) {
                self.describe(stream, &mut entries);
            }
        }
        (entries, None)
    }

    /// Entries that recreate a stream.
    fn describe(&self, stream: &Stream<R>, entries: &mut Vec<Entry>) {
        let (state, history, journal) = (&stream.state, &stream.history, &stream.journal);
        let Some(epoch) = state.epoch().cloned() else { return };
        let newest = Position(self.next.0.saturating_sub(1));
        let mut add = |position, change| {
            let (stream, origin) = (stream.name.clone(), Origin::default());
            entries.push(Entry { position, at: self.unix, origin, stream, change });
        };
        let usage = match state.usage() {
            Usage::Unknown => None,
            Usage::By(node) => Some((newest, Change::Used { by: Some(node) })),
            Usage::Idle(at) => {
                Some((at, Change::Idle { epoch: epoch.clone(), head: state.head() }))
            }
        };
        let head = Offset(state.head().0.saturating_sub(history.len() as u64));
        let journal_start = if self.shared.is_some() {
            journal.complete_from() // a node that is behind may yet park who needs what was dropped here
        } else {
            journal.start(self.ticks, self.needed_since(self.now))
        };
        let lost = history.lost();
        add(newest, Change::Snapshot { epoch, head, lost, journal: journal_start });
        for publication in history.kept() {
            let (data, labels) = (publication.data.clone(), publication.labels.clone());
            add(newest, Change::Kept { data, labels, at: publication.at });
        }
        for (position, arrived, owner, join) in state.presence().records() {
            let (ttl, id, info, extra) =
                (self.settings.presence_ttl, join.id, join.info, join.extra);
            add(position, Change::Record { owner, ttl, id, info, extra, arrived });
        }
        for (by, held) in state.subscriptions().iter() {
            let (by, codec, watch, grant, parked) =
                (by.clone(), held.codec, held.watch, held.grant.as_deref().copied(), held.parked);
            let ttl = self.settings.resume.ttl;
            add(newest, Change::Resumable { by, codec, watch, grant, parked, ttl });
        }
        for (position, id, event) in journal.entries() {
            add(position, Change::Noted { id: id.clone(), event });
        }
        if let Some((position, change)) = usage {
            add(position, change); // the last, as anything else says that it is not idle
        }
    }

    /// Time of the newest publication of all forgotten streams, in milliseconds of the Unix epoch.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
