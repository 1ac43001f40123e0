//! Restoring a shard from its entries: nobody is connected, everybody may come back.

use std::time::Instant;

use super::{Shard, Stream};
use crate::log::{Change, Entry, LogId, Position};
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::stream::History;
use crate::types::{Grant, GroupKey, Offset, StreamName};

/// Time of the restore, and completeness of the entries.
#[derive(Clone, Copy, Debug)]
pub struct Restoring {
    /// The time now, in milliseconds of the Unix epoch.
    pub unix: u64,
    /// Whether every entry is there that led to a message. If not, sessions can't be resumed, and only
    /// members are restored.
    pub complete: bool,
    /// Whether publications are complete since the positions that clients may have, apart from those a
    /// history has dropped. If not, histories begin again.
    pub has_history: bool,
    /// The time now.
    pub now: Instant,
}

impl<R: Destination> Shard<R> {
    /// Restores a stream from its entries, which begin with [`Change::Snapshot`] or [`Change::Began`]. The
    /// TTLs of records and sessions run from now.
    pub fn restore(&mut self, entries: impl IntoIterator<Item = Entry>, at: Restoring) {
        let mut entries = entries.into_iter().peekable();
        let Some(first) = entries.peek() else { return };
        let index = self.find(&first.stream).unwrap_or_else(|| {
            // the entries say what it has lost
            self.streams.insert(Stream::new(first.stream.clone(), History::new(0)))
        });
        self.restoring = Some(index);
        self.unix = at.unix;
        let new = self.entries.take(); // these are kept already
        for entry in entries {
            if let Some(entry) = believed(entry, self.settings.log, at) {
                // void: the end of a log may refer to what isn't there
                self.apply(entry, at.now).ok();
            }
        }
        self.entries = new;
        if self.streams.live(index).state.has_begun() {
            let ttl = self.settings.presence_ttl;
            let resumable =
                Some(self.settings.resume.ttl).filter(|ttl| at.complete && !ttl.is_zero());
            // it is never void
            self.commit_change(index, Change::Restarted { ttl, resumable }, at.now).ok();
        }
        self.restoring = None;
        self.forget_if_idle(index);
    }

    /// Publications up to a time, in milliseconds of the Unix epoch, may have been forgotten.
    pub fn restore_forgotten(&mut self, forgotten: u64) {
        self.forgotten = self.forgotten.max(forgotten);
    }

    /// Entries before this position may have been applied to streams that aren't here.
    pub fn restore_position(&mut self, next: Position) {
        self.next = self.next.max(next);
    }

    /// The position of the next entry.
    pub fn next_position(&self) -> Position {
        self.next
    }

    /// The subscriptions that can be resumed.
    pub fn resumable(&self) -> impl Iterator<Item = (&StreamName, SubscriberKey, Grant)> {
        self.streams.iter().flat_map(|stream| {
            stream.state.subscriptions().iter().filter_map(|(by, held)| {
                let (grant, _) = held.grant.as_deref().copied().zip(held.parked)?;
                let (codec, watch) = (held.codec, held.watch);
                let group = GroupKey { codec, watch, identifier: by.identifier.clone() };
                Some((&stream.name, SubscriberKey { session: by.session, group }, grant))
            })
        })
    }
}

/// An entry without what can't be trusted.
fn believed(mut entry: Entry, log: LogId, at: Restoring) -> Option<Entry> {
    if at.has_history {
        return Some(entry);
    }
    match &mut entry.change {
        Change::Published { .. } | Change::Kept { .. } => return None,
        Change::Snapshot { epoch, head, lost, .. } => {
            // no position that a client has is one of it
            (*epoch, *head) = (log.epoch(entry.position), Offset::default());
            *lost = at.unix.max(*lost);
        }
        Change::Began { lost } => *lost = at.unix.max(*lost),
        Change::Forgotten { .. }
        | Change::Whispered { .. }
        | Change::Arrived
        | Change::Joined { .. }
        | Change::Left { .. }
        | Change::Put { .. }
        | Change::Kicked { .. }
        | Change::Expired { .. }
        | Change::Subscribed { .. }
        | Change::Unsubscribed { .. }
        | Change::Ended { .. }
        | Change::Lapsed { .. }
        | Change::Resumed { .. }
        | Change::Restarted { .. }
        | Change::Record { .. }
        | Change::Resumable { .. }
        | Change::Noted { .. }
        | Change::Idle { .. }
        | Change::Used { .. }
        | Change::ForgottenByAll { .. }
        | Change::Forked => {}
    }
    Some(entry)
}
