//! Connections that end, and sessions that are taken up again.

use std::time::{Duration, Instant};

use super::{Due, ResumeSettings, Shard, subscriber_mut, weight};
use crate::shard::delivery::Destination;
use crate::shard::input::{End, SubscriberKey};
use crate::shard::watched::{Parked, Resumed, Subscriber, UNCONFIRMED, noted};
use crate::stream::journal::{Journal, TICK};
use crate::stream::presence::RecordKey;
use crate::types::{LeaveCause, ServerMessage, SessionId, StreamName, Watch};

/// How long a resumed subscriber has to ask for what it missed: the way of its welcome and back.
const HOLD: Duration = Duration::from_secs(1);

/// How many bytes the journals of all streams of a shard may take.
const MOST_NOTED: usize = 16 * 1024 * 1024;

impl ResumeSettings {
    /// How long a journal needs what everyone has been told. A tick on top, as it forgets what is older
    /// than a whole one.
    fn needed(&self) -> Duration {
        self.ttl + self.longest_doubt + 2 * TICK
    }
}

impl<R: Destination> Shard<R> {
    pub(super) fn ended(&mut self, name: &StreamName, key: SubscriberKey, end: End, now: Instant) {
        let Some(index) = self.find(name) else { return };
        if let Some(subscriber) = self.unsubscribe(index, &key) {
            let record = subscriber.record;
            if end.resumable && self.settings.resume.is_for(key.group.codec) {
                self.park(index, key, subscriber, end);
            } else {
                if let Some(record) = record
                    && let Some(stream) = self.streams.get_mut(index as usize)
                {
                    stream.presence.orphan(record);
                }
                self.keep_unsubscribed(index, &key);
            }
            self.expire(index, record, end.at, now);
        }
        self.give_back(index);
        self.forget_if_idle(index);
    }

    /// Moves a subscription whose connection has ended, and its record, to another session without
    /// an event, and tells it what it missed of the members. Whether that could be done: a
    /// subscription that isn't there, or that missed more than is kept or than `fits` in bytes, has
    /// to be made anew. Take the replies at once: they count as sent at `now`.
    pub fn resume(
        &mut self,
        name: &StreamName,
        from: &SubscriberKey,
        (to, recipient): (SessionId, R),
        fits: impl FnOnce(usize) -> bool,
        now: Instant,
    ) -> bool {
        self.now = now;
        let Some(index) = self.find(name) else { return false };
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        let Some(Parked { known, .. }) = stream.parked.get(from) else { return false };
        let names = from.group.identifier.as_str().len();
        let size = |news: &[ServerMessage]| weight(news) + news.len() * names;
        let Some(news) = stream.news(*known).filter(|news| fits(size(news))) else {
            self.drop_parked(index, from);
            self.forget_if_idle(index);
            return false;
        };
        let Some(Parked { record, known, deadline, grant }) = stream.take_parked(from) else {
            return false;
        };
        self.totals.parked -= 1;
        self.deadlines.cancel(deadline);
        let record = record.filter(|(key, was)| stream.presence.reference_of(*key) == Some(*was));
        let record = record.map(|(key, _)| key);
        let deadline = record.and_then(|record| stream.presence.deadline_mut(record)?.take());
        if let Some(deadline) = deadline {
            self.deadlines.cancel(deadline);
        }
        if record.is_some() {
            recipient.add_record(usize::MAX).ok(); // it has them already
        }
        let sent = stream.log.end();
        let resumed = Some(Box::new(Resumed::new(now, known)));
        let group = stream.groups.entry(from.group.clone()).or_default();
        // the confirmation of before may not have arrived
        let (confirmed, is_held) = (UNCONFIRMED, false);
        let subscriber = Subscriber { recipient, sent, record, resumed, grant, confirmed, is_held };
        group.insert(to, subscriber);
        self.totals.subscriptions += 1;
        let key = SubscriberKey { session: to, group: from.group.clone() };
        self.keep_resumed(index, from.session, &key, record);
        if key.group.watch == Watch::Occupancy {
            self.tell_count_to(index, &key);
        } else if !news.is_empty() {
            self.reply(index, &key, news);
        }
        if self.settings.history.limit > 0 {
            self.hold(index, key);
        }
        true
    }

    /// Keeps what is said from a resumed subscriber for a moment: it asks for the publications it
    /// has missed, and those go first.
    fn hold(&mut self, index: u32, key: SubscriberKey) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let group = stream.groups.get_mut(&key.group);
        let Some(subscriber) = group.and_then(|group| group.get_mut(&key.session)) else { return };
        stream.held.add(subscriber);
        if let Some(resumed) = &mut subscriber.resumed {
            resumed.live_after = Some(stream.history.head());
            self.silent += 1;
        }
        let due = Due::Held { stream: index, key: Box::new(key) };
        self.deadlines.add(self.now + HOLD, due);
    }

    /// Notes that the client of a subscriber has said something about it: its next request for history
    /// isn't the first thing after a resume. As long as it is held it still is.
    pub(super) fn end_silence(&mut self, name: &StreamName, key: &SubscriberKey) {
        if self.silent == 0 {
            return;
        }
        let stream = self.find(name).and_then(|index| self.streams.get_mut(index as usize));
        let subscriber = stream.and_then(|stream| subscriber_mut(stream, key));
        if let Some(subscriber) = subscriber.filter(|subscriber| !subscriber.is_held)
            && subscriber.end_silence()
        {
            self.silent -= 1;
        }
    }

    /// Gives back what was kept for subscribers that were held, once none is and everyone else has
    /// been told.
    pub(super) fn give_back(&mut self, index: u32) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        if stream.held.is_empty() && stream.behind_since.is_none() {
            self.backlog -= stream.log.weight();
            stream.log.trim(stream.log.end());
        }
    }

    /// Tells a subscriber what it was kept from.
    pub(super) fn release(&mut self, index: u32, key: &SubscriberKey) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        if subscriber_mut(stream, key).is_some_and(|subscriber| subscriber.is_held) {
            self.reply(index, key, []);
        }
    }

    /// Tells everyone, as it is too much to keep.
    pub(super) fn release_all(&mut self, index: u32) {
        let Some(stream) = self.streams.get(index as usize) else { return };
        let held = stream.groups.iter().flat_map(|(group, subscribers)| {
            let held = subscribers.iter().filter(|(_, subscriber)| subscriber.is_held);
            held.map(|(session, _)| SubscriberKey { session: *session, group: group.clone() })
        });
        for key in held.collect::<Vec<_>>() {
            self.release(index, &key);
        }
    }

    /// Notes in the stream's journal what is said of its members.
    pub(super) fn note(&mut self, index: u32, message: &ServerMessage, now: Instant) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let (ServerMessage::Presence(change), Some(event)) = (message, noted(message)) else {
            return;
        };
        if self.settings.resume.ttl.is_zero() {
            return;
        }
        let told = stream.groups.is_empty().then_some((self.ticks, now));
        self.change_journal(index, |journal| {
            journal.note(change.id.clone(), event);
            if let Some((ticks, now)) = told {
                journal.told(journal.end(), ticks, now);
            }
        });
        self.tidy_later(index, now);
        self.drop_noted(now);
    }

    pub(super) fn change_journal(&mut self, index: u32, change: impl FnOnce(&mut Journal)) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        self.noted -= stream.journal.weight();
        change(&mut stream.journal);
        self.noted += stream.journal.weight();
    }

    /// Drops what was noted first, in whatever stream, while all journals take too much memory.
    fn drop_noted(&mut self, now: Instant) {
        while self.noted > MOST_NOTED {
            let Some((_, index)) = self.journals.pop_first() else { return };
            self.change_journal(index, Journal::drop_first);
            let Some(stream) = self.streams.get_mut(index as usize) else { continue };
            let oldest = stream.journal.oldest(self.ticks, now);
            let needed = self.settings.resume.needed();
            stream.journal_due = oldest.map(|oldest| self.journals.add(oldest + needed, index));
        }
    }

    /// Forgets what the journal has noted and nobody can need any more.
    pub(super) fn tidy(&mut self, index: u32, now: Instant) {
        let before = self.needed_since(now);
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        stream.journal_due = None;
        let ticks = self.ticks;
        self.change_journal(index, |journal| journal.forget(ticks, before));
        self.tidy_later(index, now);
    }

    /// Since when somebody who can be resumed may not know what everyone else was told.
    pub(super) fn needed_since(&self, now: Instant) -> Instant {
        let ResumeSettings { ttl, longest_doubt } = self.settings.resume;
        now.checked_sub(ttl + longest_doubt).unwrap_or_else(|| self.ticks.began(0))
    }

    /// Comes back to a stream's journal when what is in it now can be forgotten.
    pub(super) fn tidy_later(&mut self, index: u32, now: Instant) {
        let needed = self.settings.resume.needed();
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        if stream.journal_due.is_none() && !stream.journal.is_empty() {
            stream.journal_due = Some(self.journals.add(now + needed, index));
        }
    }

    /// Ends a subscription that waits to be resumed. Its record, if it still stands, is an orphan then.
    pub(super) fn drop_parked(&mut self, index: u32, key: &SubscriberKey) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let Some(Parked { record, deadline, .. }) = stream.take_parked(key) else { return };
        self.deadlines.cancel(deadline);
        if let Some((record, was)) = record
            && stream.presence.reference_of(record) == Some(was)
        {
            stream.presence.orphan(record);
        }
        self.totals.parked -= 1;
        self.keep_unsubscribed(index, key);
    }

    /// A parked subscription's session can't be resumed any more. Its record still has its time.
    pub fn forget_parked(&mut self, name: &StreamName, key: &SubscriberKey) {
        let Some(index) = self.find(name) else { return };
        self.drop_parked(index, key);
        self.forget_if_idle(index);
    }

    /// Tells a subscriber what it is yet to be told, before anything else is said. Take the replies.
    pub fn catch_up(&mut self, name: &StreamName, key: &SubscriberKey, now: Instant) {
        self.now = now;
        if let Some(index) = self.find(name) {
            self.reply(index, key, []);
        }
    }

    /// Lets the record of an ended connection run out.
    pub(super) fn expire(
        &mut self,
        index: u32,
        record: Option<RecordKey>,
        at: Instant,
        now: Instant,
    ) {
        let Some(record) = record else { return };
        let ttl = self.settings.presence_ttl;
        if ttl.is_zero() {
            self.remove_record(index, record, LeaveCause::Expired, now);
        } else if let Some(stream) = self.streams.get_mut(index as usize)
            && let Some(deadline) = stream.presence.deadline_mut(record)
        {
            let due = Due::Record { stream: index, record };
            *deadline = Some(self.deadlines.add(at + ttl, due));
        }
    }

    fn park(&mut self, index: u32, key: SubscriberKey, subscriber: Subscriber<R>, end: End) {
        debug_assert!(self.replies.is_empty(), "what was said before comes first");
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let known = stream.known(&subscriber, end.doubt, self.ticks);
        let record =
            subscriber.record.and_then(|key| Some((key, stream.presence.reference_of(key)?)));
        let due = Due::Parked { stream: index, key: Box::new(key.clone()) };
        let deadline = self.deadlines.add(end.at + self.settings.resume.ttl, due);
        stream.parked.insert(key, Parked { record, known, deadline, grant: subscriber.grant });
        self.totals.parked += 1;
    }
}
