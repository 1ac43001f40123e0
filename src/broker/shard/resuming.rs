//! Connections that end, and sessions that are taken up again.

use std::time::Instant;

use super::{Due, Shard, weight};
use crate::broker::input::{End, SubscriberKey};
use crate::broker::presence::RecordKey;
use crate::broker::stream::{Parked, Subscriber, noted};
use crate::types::{LeaveCause, ServerMessage, SessionId, StreamName};

impl<R: Clone> Shard<R> {
    pub(super) fn ended(&mut self, name: &StreamName, key: SubscriberKey, end: End, now: Instant) {
        let Some(index) = self.find(name) else { return };
        if let Some(subscriber) = self.unsubscribe(index, &key) {
            if end.resumable && !self.settings.resume.ttl.is_zero() {
                self.park(index, key, &subscriber, end);
            }
            self.expire(index, subscriber.record, end.at, now);
        }
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
        let Some(index) = self.find(name) else { return false };
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        let Some(Parked { record, known, deadline }) = stream.parked.remove(from) else {
            return false;
        };
        self.totals.parked -= 1;
        self.deadlines.cancel(deadline);
        let names = from.group.identifier.as_str().len();
        let size = |news: &[ServerMessage]| weight(news) + news.len() * names;
        let Some(news) = stream.news(known).filter(|news| fits(size(news))) else {
            self.forget_if_idle(index);
            return false;
        };
        let record = record.filter(|(key, was)| stream.presence.reference_of(*key) == Some(*was));
        let record = record.map(|(key, _)| key);
        let deadline = record.and_then(|record| stream.presence.deadline_mut(record)?.take());
        if let Some(deadline) = deadline {
            self.deadlines.cancel(deadline);
        }
        let (sent, live_after) = (stream.log.end(), stream.history.head());
        let resumed = Some(Box::new((now, known)));
        let group = stream.groups.entry(from.group.clone()).or_default();
        group.insert(to, Subscriber { recipient, sent, live_after, record, resumed });
        self.totals.subscriptions += 1;
        if !news.is_empty() {
            let key = SubscriberKey { session: to, group: from.group.clone() };
            self.reply(index, &key, news);
        }
        true
    }

    /// Notes in the stream's journal what is said of its members.
    pub(super) fn note(&mut self, index: u32, message: &ServerMessage, now: Instant) {
        let super::ResumeSettings { ttl, longest_doubt } = self.settings.resume;
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let (ServerMessage::Presence(change), Some(event)) = (message, noted(message)) else {
            return;
        };
        if ttl.is_zero() {
            return;
        }
        if let Some(before) = now.checked_sub(ttl + longest_doubt) {
            stream.journal.forget(self.ticks, before);
        }
        stream.journal.note(change.id.clone(), event);
        if stream.groups.is_empty() {
            stream.journal.told(stream.journal.end(), self.ticks, now);
        }
    }

    pub(super) fn drop_parked(&mut self, index: u32, key: &SubscriberKey) {
        if let Some(stream) = self.streams.get_mut(index as usize)
            && stream.parked.remove(key).is_some()
        {
            self.totals.parked -= 1;
        }
    }

    /// Lets the record of an ended connection run out.
    fn expire(&mut self, index: u32, record: Option<RecordKey>, at: Instant, now: Instant) {
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

    fn park(&mut self, index: u32, key: SubscriberKey, subscriber: &Subscriber<R>, end: End) {
        debug_assert!(self.replies.is_empty(), "what was said before comes first");
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let known = stream.known(subscriber, end.doubt, self.ticks);
        let record =
            subscriber.record.and_then(|key| Some((key, stream.presence.reference_of(key)?)));
        let due = Due::Parked { stream: index, key: Box::new(key.clone()) };
        let deadline = self.deadlines.add(end.at + self.settings.resume.ttl, due);
        stream.parked.insert(key, Parked { record, known, deadline });
        self.totals.parked += 1;
    }
}
