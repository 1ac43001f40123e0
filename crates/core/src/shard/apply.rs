//! Applying entries, and passing their effects to everything that follows a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shard;
use super::expiry::after;
use crate::log::{Change, Entry, Origin, Position, Subscription, Void};
use crate::shard::delivery::Destination;
use crate::shard::parked::ParkedState;
use crate::stream::{Cause, Effect, Expiry, History, Journal, RecordKey, weight};
use crate::types::{
    DropCause, MemberChange, MemberEvent, PresenceChange, PresenceId, Publication, RecordChange,
    ServerMessage, UpdateCause,
};

impl<R: Destination> Shard<R> {
    /// Applies an entry that was ordered elsewhere. `Err` is why it is void.
    pub fn apply(&mut self, entry: Entry, now: Instant) -> Result<(), Void> {
        self.now = now;
        if self.shared.is_some() {
            return self.apply_shared(entry, now);
        }
        let index = self.find_or_add(&entry.stream);
        let result = self.apply_at(index, entry, now);
        self.remove_if_empty(index); // a message is no reason for a stream to be here
        result
    }

    /// Appends a change to the log and applies it. `since` is the time at which it happened.
    pub(super) fn commit_change(
        &mut self,
        index: u32,
        change: Change,
        since: Instant,
    ) -> Result<(), Void> {
        if self.shared.is_some() {
            return self.commit_shared(index, change, since);
        }
        let stream = self.streams.live(index);
        if !stream.state.has_begun() && change.is_lasting() {
            stream.state.verdict(&change)?; // for nothing it needn't begin
            let lost = stream.history.lost();
            self.append(index, Change::Began { lost }, since)?;
        }
        self.append(index, change, since)
    }

    #[inline]
    fn append(&mut self, index: u32, change: Change, since: Instant) -> Result<(), Void> {
        let stream = self.streams.live(index);
        let entry = Entry {
            position: self.next,
            at: self.unix,
            origin: Origin::default(),
            stream: stream.name.clone(),
            change,
        };
        self.apply_at(index, entry, since)
    }

    pub(super) fn apply_at(
        &mut self,
        index: u32,
        entry: Entry,
        since: Instant,
    ) -> Result<(), Void> {
        self.change_state(index, &entry)?;
        let (position, at) = (entry.position, entry.at);
        if let Some(entries) = &mut self.entries
            && entry.change.is_lasting()
        {
            entries.push(entry);
        }
        if self.effects.len() < 2 {
            if let Some(effect) = self.effects.pop() {
                self.feed(index, (position, at), effect, since);
            }
            return Ok(());
        }
        let mut effects = std::mem::take(&mut self.effects); // one of them may lead to another entry
        for effect in effects.drain(..) {
            self.feed(index, (position, at), effect, since);
        }
        self.effects = effects;
        Ok(())
    }

    fn change_state(&mut self, index: u32, entry: &Entry) -> Result<(), Void> {
        if let Change::Snapshot { .. } = entry.change {
            self.clear_timers(index); // it is never void
        }
        let stream = self.streams.live_mut(index);
        let state = &mut stream.state;
        let (before, digest) = (state.totals(), state.digest());
        state.apply(self.settings.log, entry, &mut self.effects)?;
        if self.shared.is_some()
            && let Change::Resumed { from, to } = &entry.change
        {
            // only its node has to know what a connected subscription was granted
            state.drop_connected(&from.of_session(*to));
        }
        let after = state.totals();
        self.digest = self.digest.wrapping_sub(digest).wrapping_add(state.digest());
        self.totals.records = self.totals.records + after.records - before.records;
        self.totals.members = self.totals.members + after.members - before.members;
        self.totals.parked = self.totals.parked + after.parked - before.parked;
        self.next = self.next.max(entry.position.next());
        if let Change::Resumed { from, .. } = &entry.change {
            self.note_parked_as(index, from, ParkedState::Resumed);
        }
        Ok(())
    }

    /// Passes an effect to history, journal, subscribers, observers, counts and timers.
    fn feed(
        &mut self,
        index: u32,
        (position, unix): (Position, u64),
        effect: Effect,
        since: Instant,
    ) {
        match effect {
            Effect::Began { lost } => {
                let lost = self.lost_of(index, lost);
                self.restart_readers(index, lost, Position(0));
            }
            Effect::Replaced { lost, journal } => self.restart_readers(index, lost, journal),
            Effect::Forgotten { lost } => {
                let lost = self.lost_of(index, lost);
                self.forgotten = self.forgotten.max(lost);
                self.restart_readers(index, lost, Position(0));
                self.streams.live_mut(index).restart_offsets();
            }
            Effect::Forked => {
                self.restart_history(index, unix);
                self.streams.live_mut(index).restart_offsets();
                self.await_expiry(index);
            }
            Effect::Published { publication, except } => {
                if publication.position.is_some() {
                    self.keep_publication(index, &publication);
                }
                let message = ServerMessage::Publication(publication);
                self.broadcast(index, position, message, except, self.now);
                self.drop_beyond_memory();
            }
            Effect::Kept { publication } => {
                self.keep_publication(index, &publication);
                self.drop_beyond_memory();
            }
            Effect::Whispered { whisper, from } => {
                let message = ServerMessage::Whisper(whisper);
                self.broadcast(index, position, message, Some(from), self.now);
            }
            Effect::Arrived => {
                self.broadcast(index, position, ServerMessage::Arrived, None, self.now);
            }
            Effect::Changed { record, change, cause } => {
                self.changed(index, position, record, change, cause);
            }
            Effect::Runs { record, expiry } => {
                let left = match expiry {
                    Expiry::After(ttl) => ttl,
                    Expiry::At(until) => Duration::from_millis(until.saturating_sub(unix)),
                };
                self.timers.set_record(index, record, after(since, left));
            }
            Effect::Stays { record } => self.timers.cancel_record(index, record),
            Effect::Taken { by } => self.taken(index, &by),
            Effect::Parked { by, ttl } => {
                self.note_parked(index, &by);
                self.timers.set_parked(index, by, after(since, ttl));
            }
            Effect::Unparked { by } => {
                self.note_parked_as(index, &by, ParkedState::Over);
                self.timers.cancel_parked(index, &by);
            }
            Effect::Noted { id, event } => self.note(index, position, &id, event),
        }
    }

    /// Passes on the change of a record.
    fn changed(
        &mut self,
        index: u32,
        position: Position,
        record: RecordKey,
        change: PresenceChange,
        cause: Cause,
    ) {
        if matches!(change.record, RecordChange::Removed { .. }) {
            self.timers.cancel_record(index, record);
        }
        self.count(&change, cause);
        if cause == Cause::Restored {
            return;
        }
        let event = change.member.event();
        if let Some(event) = event {
            self.note(index, position, &change.id, event);
        }
        let has_subscribers = !self.streams.live(index).groups.is_empty();
        if !has_subscribers && self.observed.is_none() {
            return; // most streams of other nodes
        }
        let (now, counts) = (self.now, change.member.comes_or_goes());
        let change = Arc::new(change);
        if event.is_some() {
            self.note_observed(index, &change);
        }
        if has_subscribers {
            self.broadcast(index, position, ServerMessage::Presence(change), None, now);
            if counts {
                self.occupancy_changed(index, now);
            }
        }
    }

    fn count(&mut self, change: &PresenceChange, cause: Cause) {
        match (&change.member, cause) {
            (MemberChange::Joined { .. }, Cause::Joined(cause)) => self.counts.joins.push(cause),
            (MemberChange::Left, Cause::Left(cause)) => self.counts.leaves.push(cause),
            (MemberChange::Updated { .. }, Cause::Joined(_)) => {
                self.counts.updates.push(UpdateCause::Changed);
            }
            (MemberChange::Updated { .. }, Cause::Left(_)) => {
                self.counts.updates.push(UpdateCause::Departed);
            }
            (MemberChange::Joined { .. } | MemberChange::Left | MemberChange::Unchanged, _)
            | (MemberChange::Updated { .. }, Cause::Restored) => {}
        }
    }

    /// Time of the newest publication that a stream no longer has: this node may know of a later one than
    /// the node that proposed the change. In a shared log it must not matter what a node knows.
    fn lost_of(&self, index: u32, lost: u64) -> u64 {
        if self.shared.is_some() {
            return lost;
        }
        lost.max(self.streams.live(index).history.lost())
    }

    /// Empties a stream's history and journal.
    fn restart_readers(&mut self, index: u32, lost: u64, journal: Position) {
        self.restart_history(index, lost);
        self.change_journal(index, |it| *it = Journal::from(journal));
        let stream = self.streams.live_mut(index);
        if stream.groups.is_empty() {
            stream.journal.mark_sent(journal, self.ticks, self.now);
        }
    }

    fn restart_history(&mut self, index: u32, lost: u64) {
        while !self.streams.live(index).history.is_empty() {
            self.drop_oldest(index, DropCause::Expired);
        }
        self.streams.live_mut(index).history = History::new(lost);
    }

    fn clear_timers(&mut self, index: u32) {
        let stream = self.streams.live(index);
        for record in stream.state.presence().keys() {
            self.timers.cancel_record(index, record);
        }
        for (by, _) in stream.state.subscriptions().iter() {
            self.timers.cancel_parked(index, by);
        }
    }

    /// Forgets a stream if it is idle.
    pub(super) fn forget_if_idle(&mut self, index: u32) {
        let Some(stream) = self.streams.get(index) else { return };
        if !stream.is_idle() || self.restoring == Some(index) {
            return;
        }
        if self.shared.is_some() {
            self.review_use(index);
        } else if let Some(epoch) = stream.state.epoch().cloned() {
            let (head, lost) = (stream.state.head(), stream.history.lost());
            // void at most: then it isn't empty, and stays
            self.append(index, Change::Forgotten { epoch, head, lost }, self.now).ok();
        }
        self.remove_if_empty(index);
    }

    /// Removes a stream without subscribers and state.
    pub(super) fn remove_if_empty(&mut self, index: u32) {
        let is_in_use = |stream: &super::Stream<R>| stream.state.has_begun() || !stream.is_idle();
        if self.restoring == Some(index) || self.streams.get(index).is_none_or(is_in_use) {
            return;
        }
        self.drop_plan(index);
        let stream = self.streams.remove(index);
        self.backlog -= stream.window.weight();
        self.noted -= stream.journal.weight();
        if let Some(timer) = stream.journal_timer {
            self.journals.cancel(timer);
        }
        if let Some(timer) = stream.occupancy_timer {
            self.timers.cancel(timer);
        }
        if let Some(pause) = stream.pause_timer {
            self.paused.cancel(pause);
        }
    }

    /// Counts one record of a client less, which the application removed.
    pub(super) fn taken(&mut self, index: u32, by: &Subscription) {
        let stream = self.streams.live(index);
        let groups = stream.groups.iter().filter(|(group, _)| group.identifier == by.identifier);
        let mut subscribers = groups.filter_map(|(_, group)| group.get(&by.session));
        if let Some(subscriber) = subscribers.next() {
            subscriber.recipient.remove_record();
        }
    }

    /// Adds a publication to the history.
    fn keep_publication(&mut self, index: u32, publication: &Arc<Publication>) {
        let stream = self.streams.live_mut(index);
        let settings = self.settings.history;
        let age = Duration::from_millis(self.unix.saturating_sub(publication.at));
        let expires = self.now + settings.ttl.saturating_sub(age);
        if stream.history.is_empty() {
            self.totals.history_bytes += stream.weight();
            self.expiries.add(expires, index);
        }
        stream.history.keep(Arc::clone(publication), expires);
        self.totals.publications += 1;
        self.totals.history_bytes += weight(publication);
        if stream.history.len() > settings.limit {
            self.drop_oldest(index, DropCause::Limit);
        }
    }

    /// Adds a member event to the journal.
    fn note(&mut self, index: u32, position: Position, id: &PresenceId, event: MemberEvent) {
        if self.settings.resume.ttl.is_zero() {
            return;
        }
        let (now, ticks) = (self.now, self.ticks);
        let stream = self.streams.live(index);
        let is_sent = stream.groups.is_empty();
        self.change_journal(index, |journal| {
            if is_sent {
                journal.note_sent(position, id.clone(), event, (ticks, now));
            } else {
                journal.note(position, id.clone(), event);
            }
        });
        self.tidy_later(index, now);
        self.drop_noted(now);
    }
}
