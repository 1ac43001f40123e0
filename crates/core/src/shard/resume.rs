//! Resuming sessions.

use std::time::{Duration, Instant};

use super::{ResumeSettings, Shard, live_subscriber_mut, subscriber_mut, weight};
use crate::log::{Change, Parked, Subscription};
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::shard::parked::{ParkedChange, ParkedState};
use crate::shard::stream::{Resumed, Subscriber, UNCONFIRMED};
use crate::shard::timers::Timer;
use crate::stream::{Journal, TICK};
use crate::types::{ServerMessage, SessionId, StreamName, Watch};

/// Time a resumed subscriber has to request what it missed: one round trip.
const HOLD: Duration = Duration::from_secs(1);

/// Maximum of bytes of a shard's journals.
const MAX_NOTED: usize = 16 * 1024 * 1024;

impl ResumeSettings {
    /// Time for which a journal needs entries that everyone was sent, rounded up by a tick.
    fn needed(&self) -> Duration {
        self.ttl + self.max_unacked + 2 * TICK
    }
}

impl<R: Destination> Shard<R> {
    /// Moves a parked subscription and its record to another session; returns whether that was possible.
    pub(super) fn resume(
        &mut self,
        name: &StreamName,
        from: &SubscriberKey,
        (to, recipient): (SessionId, R),
        now: Instant,
    ) -> bool {
        let Some(index) = self.find(name) else { return false };
        let by = from.subscription();
        let stream = self.streams.live_mut(index);
        let Some(Parked { known, .. }) = stream.state.parked(&by) else { return false };
        let names = from.group.identifier.as_str().len();
        let size = |news: &[ServerMessage]| weight(news) + news.len() * names;
        let Some(news) = stream.news(known).filter(|news| recipient.reserve(size(news))) else {
            self.lapse(index, by, now);
            self.forget_if_idle(index);
            return false;
        };
        let has_record = stream.state.presence().held_by(&by).is_some();
        if self.commit_change(index, Change::Resumed { from: by, to }, now).is_err() {
            return false;
        }
        if has_record {
            recipient.add_record(usize::MAX).ok(); // it has them already
        }
        let stream = self.streams.live_mut(index);
        let sent = stream.window.end();
        let resumed = Some(Box::new(Resumed::new(now, known)));
        let group = stream.groups.entry(from.group.clone()).or_default();
        // the confirmation of before may not have arrived
        let (confirmed, is_held) = (UNCONFIRMED, false);
        group.insert(to, Subscriber { recipient, sent, resumed, confirmed, is_held });
        self.totals.subscriptions += 1;
        let key = SubscriberKey { session: to, group: from.group.clone() };
        if key.group.watch == Watch::Occupancy {
            self.send_occupancy_to(index, &key);
        } else if !news.is_empty() {
            self.reply(index, &key, news);
        }
        if self.settings.history.limit > 0 {
            self.hold(index, key);
        }
        true
    }

    /// What has been parked since the last call, and what no longer is, in order. A shard with a log of its own notes
    /// nothing.
    pub fn take_parked(&mut self) -> Vec<ParkedChange> {
        self.shared.as_mut().map(|shared| std::mem::take(&mut shared.parked)).unwrap_or_default()
    }

    /// Notes that a subscription is parked, as far as it can be resumed by any node.
    pub(super) fn note_parked(&mut self, index: u32, by: &Subscription) {
        if self.shared.is_none() {
            return;
        }
        let held = self.streams.live(index).state.subscriptions().get(by);
        if let Some((watch, grant)) =
            held.and_then(|held| Some((held.watch, *held.grant.as_deref()?)))
        {
            self.note_parked_as(index, by, ParkedState::Parked(watch, grant));
        }
    }

    /// Notes what a parked subscription is now.
    pub(super) fn note_parked_as(&mut self, index: u32, by: &Subscription, state: ParkedState) {
        if let Some(shared) = &mut self.shared {
            let (stream, by) = (self.streams.live(index).name.clone(), by.clone());
            shared.parked.push(ParkedChange { stream, by, state });
        }
    }

    /// Holds new messages back from a resumed subscriber for a moment, so that missed publications go first.
    fn hold(&mut self, index: u32, key: SubscriberKey) {
        let stream = self.streams.live_mut(index);
        let live_after = Some(stream.state.head());
        let subscriber = live_subscriber_mut(&mut stream.groups, &key);
        subscriber.live_resumed().live_after = live_after;
        stream.held.add(subscriber);
        self.silent += 1;
        let timer = Timer::Hold { stream: index, key: Box::new(key) };
        self.timers.add(self.now + HOLD, timer);
    }

    /// Notes a command of a resumed subscriber's client: a later history request isn't the first command
    /// any more. During the hold it still is.
    pub(super) fn end_silence(&mut self, name: &StreamName, key: &SubscriberKey) {
        if self.silent == 0 {
            return;
        }
        let stream = self.find(name).and_then(|index| self.streams.get_mut(index));
        let subscriber = stream.and_then(|stream| subscriber_mut(&mut stream.groups, key));
        if let Some(subscriber) = subscriber.filter(|subscriber| !subscriber.is_held)
            && subscriber.end_silence()
        {
            self.silent -= 1;
        }
    }

    /// Empties the window once no subscriber is held and no fan-out is pending.
    pub(super) fn give_back(&mut self, index: u32) {
        let stream = self.streams.live_mut(index);
        if stream.held.is_empty() && stream.behind_since.is_none() {
            self.backlog -= stream.window.weight();
            stream.window.trim(stream.window.end());
        }
    }

    /// Ends a subscriber's hold and sends what it was kept from.
    pub(super) fn release(&mut self, index: u32, key: &SubscriberKey) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        if subscriber_mut(&mut stream.groups, key).is_some_and(|subscriber| subscriber.is_held) {
            self.reply(index, key, []);
        }
    }

    /// Ends all holds, because the window is too large.
    pub(super) fn release_all(&mut self, index: u32) {
        let stream = self.streams.live(index);
        let held = stream.groups.iter().flat_map(|(group, subscribers)| {
            let held = subscribers.iter().filter(|(_, subscriber)| subscriber.is_held);
            held.map(|(session, _)| SubscriberKey { session: *session, group: group.clone() })
        });
        for key in held.collect::<Vec<_>>() {
            self.release(index, &key);
        }
    }

    pub(super) fn change_journal(&mut self, index: u32, change: impl FnOnce(&mut Journal)) {
        let stream = self.streams.live_mut(index);
        self.noted -= stream.journal.weight();
        change(&mut stream.journal);
        self.noted += stream.journal.weight();
    }

    /// Drops the oldest journal entries of the shard while journals take too much memory.
    pub(super) fn drop_noted(&mut self, now: Instant) {
        while self.noted > MAX_NOTED {
            let Some((_, index)) = self.journals.pop_first() else { return };
            self.change_journal(index, Journal::drop_first);
            let Some(stream) = self.streams.get_mut(index) else { continue };
            let oldest = stream.journal.oldest(self.ticks, now);
            let needed = self.settings.resume.needed();
            stream.journal_timer = oldest.map(|oldest| self.journals.add(oldest + needed, index));
        }
    }

    /// Drops journal entries that nobody can need any more.
    pub(super) fn tidy(&mut self, index: u32, now: Instant) {
        let before = self.needed_since(now);
        let stream = self.streams.live_mut(index);
        stream.journal_timer = None;
        let ticks = self.ticks;
        self.change_journal(index, |journal| journal.forget(ticks, before));
        self.tidy_later(index, now);
    }

    /// Time since which a resumable subscriber may lack events that everyone else was sent.
    pub(super) fn needed_since(&self, now: Instant) -> Instant {
        let ResumeSettings { ttl, max_unacked } = self.settings.resume;
        now.checked_sub(ttl + max_unacked).unwrap_or_else(|| self.ticks.began(0))
    }

    /// Sets a timer for dropping the current journal entries.
    pub(super) fn tidy_later(&mut self, index: u32, now: Instant) {
        let stream = self.streams.live_mut(index);
        if stream.journal_timer.is_none() && !stream.journal.is_empty() {
            let due = now + self.settings.resume.needed();
            stream.journal_timer = Some(self.journals.add(due, index));
        }
    }
}
