//! Publications: what is said, what is kept of it, and for how long.

use std::sync::Arc;
use std::time::Instant;

use super::{Shard, subscriber_mut};
use crate::log::Change;
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::stream::history::{self, HistorySettings};
use crate::types::{
    DropCause, HistoryRequest, Labels, Limit, Publication, RawJson, ServerMessage, SessionId,
    StreamName,
};

impl<R: Destination> Shard<R> {
    pub(super) fn publish(
        &mut self,
        name: &StreamName,
        (data, labels, at): (RawJson, Labels, u64),
        except: Option<SessionId>,
        is_transient: bool,
        now: Instant,
    ) {
        self.counts.publications += 1;
        let HistorySettings { limit, ttl, .. } = self.settings.history;
        if limit == 0 || is_transient {
            let Some(index) = self.find(name) else { return };
            let publication =
                Publication { stream: name.clone(), data, labels, at, position: None };
            self.say(index, ServerMessage::Publication(Arc::new(publication)), except, now);
            return;
        }
        let index = self.find_or_add(name);
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        if stream.history.is_empty() {
            self.totals.history_bytes += stream.weight();
            self.expiries.add(now + ttl, index);
        }
        let publication = stream.history.append(name, (data, labels), at, now + ttl);
        self.totals.publications += 1;
        self.totals.history_bytes += history::weight(&publication);
        if stream.history.len() > limit {
            self.drop_oldest(index, DropCause::Limit);
        }
        self.keep(|| Change::Published(Arc::clone(&publication)));
        self.say(index, ServerMessage::Publication(publication), except, now);
        self.drop_beyond_memory();
    }

    /// The newest publications that a stream keeps, as many as may be told at once, oldest first.
    pub fn publications(&self, name: &StreamName) -> Vec<Arc<Publication>> {
        let stream = self.find(name).and_then(|key| self.streams.get(key as usize));
        stream.map_or_else(Vec::new, |stream| stream.history.newest(self.settings.max_answer))
    }

    /// Drops the oldest publications of all streams while they take too much memory.
    pub(super) fn drop_beyond_memory(&mut self) {
        while self.totals.history_bytes > self.settings.history.max_bytes {
            let Some((expires, oldest)) = self.expiries.pop_first() else { break };
            if self.next_expiry(oldest) == Some(expires) {
                self.drop_oldest(oldest, DropCause::Memory);
            }
            self.await_expiry(oldest);
        }
    }

    /// Tells a subscriber what it asks for of the history; whether all of it could be told. That goes up
    /// to here in the stream's order; for one that asks first thing after its resume, up to the resume, as
    /// it is sent live what came later.
    pub(super) fn tell_history(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        request: &HistoryRequest,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(index as usize) else { return false };
        let Some(subscriber) = subscriber_mut(stream, key) else { return false };
        let (live_after, is_held) = (subscriber.live_after(), subscriber.is_held);
        let recipient = subscriber.recipient.clone();
        let answer = if self.settings.history.limit == 0 {
            vec![ServerMessage::HistoryRejected]
        } else {
            let most = self.settings.max_answer;
            let up_to = live_after.unwrap_or(stream.history.head());
            stream.history.answer(&stream.name, request, up_to, most).unwrap_or_else(|_| {
                self.counts.limits.push(Limit::AnswerSize);
                vec![ServerMessage::HistoryRejected]
            })
        };
        let told = answer.last() == Some(&ServerMessage::HistoryConfirmed);
        self.counts.histories.push(told);
        if is_held {
            // what it missed comes before what it was kept from
            self.send(recipient, key, answer);
            self.release(index, key);
        } else {
            self.reply(index, key, answer);
        }
        told
    }

    pub(super) fn drop_expired(&mut self, stream: u32, now: Instant) {
        while self.next_expiry(stream).is_some_and(|expires| expires <= now) {
            self.drop_oldest(stream, DropCause::Expired);
        }
        self.await_expiry(stream);
    }

    pub(super) fn drop_oldest(&mut self, stream: u32, cause: DropCause) {
        let Some(stream) = self.streams.get_mut(stream as usize) else { return };
        self.totals.history_bytes -= stream.history.drop_oldest();
        if stream.history.is_empty() {
            self.totals.history_bytes -= stream.weight();
        }
        self.totals.publications -= 1;
        self.counts.dropped.push(cause);
    }

    fn next_expiry(&self, stream: u32) -> Option<Instant> {
        self.streams.get(stream as usize)?.history.next_expiry()
    }

    /// Comes back to a stream when its oldest publication expires; forgets it if it has none and
    /// nobody needs it.
    fn await_expiry(&mut self, stream: u32) {
        match self.next_expiry(stream) {
            Some(expires) => drop(self.expiries.add(expires, stream)),
            None => self.forget_if_idle(stream),
        }
    }
}
