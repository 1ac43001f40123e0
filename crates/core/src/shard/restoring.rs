//! A stream as it was, out of its changes: nobody is connected, everybody may come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::{Due, EPOCH_STEP, ResumeSettings, Shard};
use crate::log::Change;
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::shard::watched::Parked;
use crate::stream::history::{self, History};
use crate::stream::journal::{Event, Known};
use crate::stream::presence::{Owner, RecordKey};
use crate::types::{
    Codec, DropCause, Epoch, Grant, GroupKey, Identifier, Join, LeaveCause, MemberChange,
    Publication, ServerMessage, SessionId, StreamName,
};

/// When and how far to believe what was kept.
#[derive(Clone, Copy, Debug)]
pub struct Restoring {
    /// The time now, in milliseconds of the Unix epoch.
    pub unix: u64,
    /// Whether all is there that anyone was told. If not, no session's view can be trusted: who was
    /// present is all that is taken.
    pub complete: bool,
    /// Whether all publications are there since the positions that clients may have, but for those
    /// that a history says it has lost. If not, histories begin anew.
    pub has_history: bool,
    /// The time now.
    pub now: Instant,
}

/// The stream that is being restored.
struct Draft {
    index: u32,
    /// Whose a record is, and by what key of the codec.
    records: IndexMap<(SessionId, Identifier), RecordKey, RandomState>,
    groups: IndexMap<(SessionId, Identifier), (GroupKey, Grant), RandomState>,
}

impl<R: Destination> Shard<R> {
    /// Takes a stream up as its changes say. Members leave when the TTL from now is over, unless
    /// they come back; sessions can be resumed for theirs.
    pub fn restore(&mut self, changes: impl IntoIterator<Item = Change>, at: Restoring) {
        let mut changes = changes.into_iter();
        let Some(Change::Began { stream, epoch, head, lost }) = changes.next() else { return };
        let history = if at.has_history {
            History::behind(epoch, head, lost)
        } else {
            History::new(self.next_epoch(), lost.max(at.unix))
        };
        if self.find(&stream).is_some() {
            return; // each stream comes once
        }
        let mut draft = Draft {
            index: self.add(&stream, history),
            records: IndexMap::default(),
            groups: IndexMap::default(),
        };
        for change in changes {
            self.apply(&mut draft, change, at);
        }
        self.settle(draft, at);
    }

    /// Publications up to a time, in milliseconds of the Unix epoch, may have been forgotten.
    pub fn restore_forgotten(&mut self, forgotten: u64) {
        self.forgotten = self.forgotten.max(forgotten);
    }

    /// The subscriptions that can be resumed.
    pub fn resumable(&self) -> impl Iterator<Item = (&StreamName, &SubscriberKey, Grant)> {
        self.streams.iter().flat_map(|(_, stream)| {
            stream.parked.iter().filter_map(|(key, parked)| {
                let grant = parked.grant.as_deref()?;
                Some((&stream.name, key, *grant))
            })
        })
    }

    pub(super) fn next_epoch(&mut self) -> Epoch {
        format!("{:x}", self.next_number()).as_str().into()
    }

    /// A number far from those before and after it, and from those of other runs.
    pub(super) fn next_number(&mut self) -> u64 {
        self.epochs += 1;
        // the step is odd, so no two are equal before all have been
        self.settings.seed.wrapping_add(self.epochs.wrapping_mul(EPOCH_STEP))
    }

    fn apply(&mut self, draft: &mut Draft, change: Change, at: Restoring) {
        match change {
            Change::Published(publication) => {
                if at.has_history {
                    self.restore_publication(draft.index, publication, at);
                }
            }
            Change::Subscribed { session, codec, watch, identifier, grant, .. } => {
                let group = GroupKey { codec, watch, identifier: identifier.clone() };
                draft.groups.insert((session, identifier), (group, grant));
            }
            Change::Unsubscribed { session, identifier, .. } => {
                draft.groups.swap_remove(&(session, identifier));
            }
            Change::Joined { session, identifier, id, info, extra, .. } => {
                let join = Join { id, info, extra };
                self.restore_join(draft, (session, identifier), join, at.now);
            }
            Change::Left { session, identifier, .. } => {
                if let Some(record) = draft.records.swap_remove(&(session, identifier)) {
                    self.remove_record(draft.index, record, LeaveCause::Left, at.now);
                }
            }
            Change::Put { id, info, extra, until, .. } => {
                // its time is checked once all is there
                self.put_record(draft.index, Join { id, info, extra }, until, None, at.now);
            }
            Change::Withdrawn { id, .. } => {
                let stream = self.streams.get(draft.index as usize);
                if let Some(record) = stream.and_then(|stream| stream.presence.applications(&id)) {
                    self.remove_record(draft.index, record, LeaveCause::Kicked, at.now);
                }
            }
            Change::Resumed { identifier, from, to, .. } => {
                if let Some(group) = draft.groups.swap_remove(&(from, identifier.clone())) {
                    draft.groups.insert((to, identifier.clone()), group);
                }
                if let Some(record) = draft.records.swap_remove(&(from, identifier.clone())) {
                    draft.records.insert((to, identifier), record);
                }
            }
            Change::JournalTruncated { .. } => {
                if let Some(stream) = self.streams.get_mut(draft.index as usize) {
                    stream.journal.truncate();
                }
            }
            Change::Gone { id, .. } => {
                self.change_journal(draft.index, |journal| journal.note(id, Event::Left));
            }
            Change::Began { .. } | Change::Forgotten { .. } => {} // only ever the first
        }
    }

    fn restore_publication(&mut self, index: u32, publication: Arc<Publication>, at: Restoring) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let age = Duration::from_millis(at.unix.saturating_sub(publication.at));
        let expires = at.now + self.settings.history.ttl.saturating_sub(age);
        if stream.history.is_empty() {
            self.totals.history_bytes += stream.weight();
            self.expiries.add(expires, index);
        }
        let before = stream.history.len();
        let weight = history::weight(&publication);
        stream.history.restore(publication, expires);
        if stream.history.len() > before {
            self.totals.publications += 1;
            self.totals.history_bytes += weight;
        }
        if stream.history.len() > self.settings.history.limit {
            self.drop_oldest(index, DropCause::Limit);
        }
        self.drop_beyond_memory();
    }

    fn restore_join(
        &mut self,
        draft: &mut Draft,
        owner: (SessionId, Identifier),
        join: Join,
        now: Instant,
    ) {
        let Some(stream) = self.streams.get_mut(draft.index as usize) else { return };
        let change = if let Some(record) = draft.records.get(&owner) {
            stream.presence.update(*record, join.info, join.extra)
        } else {
            let (record, change) = stream.presence.add(join);
            self.totals.records += 1;
            if let MemberChange::Joined { .. } = change.member {
                self.totals.members += 1;
            }
            draft.records.insert(owner, record);
            Some(change)
        };
        if let Some(change) = change {
            self.note(draft.index, &ServerMessage::Presence(Arc::new(change)), now);
        }
    }

    /// Everyone's connection has just ended.
    fn settle(&mut self, draft: Draft, at: Restoring) {
        let Draft { index, records, groups } = draft;
        let ResumeSettings { ttl, .. } = self.settings.resume;
        let resumable = at.complete && !ttl.is_zero();
        for ((session, identifier), record) in &records {
            let group = groups.get(&(*session, identifier.clone()));
            let group = group.map(|(group, _)| group.clone());
            let is_orphan = group.is_none() || !resumable;
            let codec = Codec::GONE; // it only names the record
            let group = group.unwrap_or_else(|| GroupKey::new(codec, identifier.clone()));
            let owner = SubscriberKey { session: *session, group };
            let Some(stream) = self.streams.get_mut(index as usize) else { continue };
            stream.presence.set_owner(*record, Owner::Subscription(owner));
            if is_orphan {
                stream.presence.orphan(*record);
            }
        }
        for ((session, identifier), (group, grant)) in groups {
            if !resumable {
                break;
            }
            let record = records.get(&(session, identifier)).copied();
            self.restore_parked(index, SubscriberKey { session, group }, grant, record, at.now);
        }
        if let Some(stream) = self.streams.get_mut(index as usize) {
            stream.journal.told(stream.journal.end(), self.ticks, at.now);
        }
        self.tidy_later(index, at.now);
        for record in records.into_values() {
            self.expire(index, Some(record), at.now, at.now);
        }
        self.expire_applications(index, at);
        self.forget_if_idle(index);
    }

    /// The application's records have what is left of their time.
    fn expire_applications(&mut self, index: u32, at: Restoring) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        for (record, until) in stream.presence.applications_until() {
            let left = until.saturating_sub(at.unix);
            if left == 0 {
                self.remove_record(index, record, LeaveCause::Expired, at.now);
            } else {
                let deadline = at.now + Duration::from_millis(left);
                self.set_deadline(index, record, Some(deadline));
            }
        }
    }

    fn restore_parked(
        &mut self,
        index: u32,
        key: SubscriberKey,
        grant: Grant,
        record: Option<RecordKey>,
        now: Instant,
    ) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let record = record.and_then(|key| Some((key, stream.presence.reference_of(key)?)));
        let due = Due::Parked { stream: index, key: Box::new(key.clone()) };
        let deadline = self.deadlines.add(now + self.settings.resume.ttl, due);
        let grant = Some(Box::new(grant));
        stream.parked.insert(key, Parked { record, known: Known::NOTHING, deadline, grant });
        self.totals.parked += 1;
    }
}
