//! Snapshots of a partition: with one, a node that is new begins near the end of the log.
//!
//! A snapshot is exact at one position: restored from it, a partition is as if it had read the whole log up to there.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::admission::Admission;
use super::members::Members;
use super::partition::Partition;
use super::rules::Rules;
use crate::log::{Entry, Position, SessionChange};
use crate::shard::Destination;

/// A part of a snapshot. The head is the last one: without it, the snapshot isn't complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotItem {
    /// An entry that recreates a stream. Those of a stream follow each other.
    Entry(Entry),
    /// What isn't about a stream.
    Head(Head),
    /// A change that makes a session known, at the position of its last one.
    Session(Position, SessionChange),
}

/// What a partition has beside its streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Position of the last item that was read.
    position: Position,
    admission: Admission,
    members: Members,
    /// The rules in force.
    rules: Option<Rules>,
    /// Time of the newest publication of all forgotten streams, in milliseconds of the Unix epoch.
    forgotten: u64,
}

impl<R: Destination> Partition<R> {
    /// A part of a snapshot, from a place on, which counts from 0, and the next place: at least one stream, and no more
    /// after `max` entries. Apply no batch until the snapshot is complete; inputs and timeouts change nothing in it.
    pub fn snapshot(&self, place: usize, max: usize) -> (Vec<SnapshotItem>, Option<usize>) {
        let (entries, next) = self.shard.snapshot_from(place, max);
        let mut items: Vec<_> = entries.into_iter().map(SnapshotItem::Entry).collect();
        if next.is_none() {
            let sessions = self.sessions.known.iter();
            items.extend(
                sessions.map(|(sid, known)| SnapshotItem::Session(known.at, known.change(sid))),
            );
            items.push(SnapshotItem::Head(Head {
                position: self.position,
                admission: self.admission.clone(),
                members: self.members.clone(),
                rules: self.rules(),
                forgotten: self.shard.forgotten(),
            }));
        }
        (items, next)
    }

    /// Restores the next part of a snapshot, in a partition of a new node that has read nothing; returns whether it was
    /// the last one. Before that, the partition takes no inputs and no batches. `unix` is the time in milliseconds of
    /// the Unix epoch.
    ///
    /// The TTLs of records and sessions run from now, and other nodes have the first word when they are over. The nodes
    /// that were gone are in [`Partition::take_departed`] again: some log may not have it.
    pub fn restore(&mut self, item: SnapshotItem, unix: u64, now: Instant) -> bool {
        match item {
            SnapshotItem::Entry(entry) => {
                self.shard.set_unix(unix);
                // void: nothing that a node wrote
                self.shard.apply(Entry { at: unix, ..entry }, now).ok();
                false
            }
            SnapshotItem::Session(at, change) => {
                self.sessions.apply(at, &change, (self.node, None));
                false
            }
            SnapshotItem::Head(Head { position, admission, members, rules, forgotten }) => {
                self.shard.restore_forgotten(forgotten);
                self.departed.extend(members.departed().chain(admission.gone()));
                (self.position, self.admission, self.members) = (position, admission, members);
                self.in_force.restore(rules);
                true
            }
        }
    }
}
