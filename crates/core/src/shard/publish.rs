//! Publications: publishing, history requests, expiry.

use std::time::Instant;

use super::{Shard, live_subscriber_mut};
use crate::log::{Change, Subscription, Void};
use crate::shard::delivery::Destination;
use crate::shard::input::{Publish, SubscriberKey};
use crate::types::{
    CommandKind, DropCause, HistoryRequest, Labels, Limit, RawJson, ServerMessage, StreamName,
};

impl<R: Destination> Shard<R> {
    /// Handles a publication of the application.
    pub(super) fn publish(&mut self, name: &StreamName, publish: Publish, now: Instant) {
        let Publish { data, labels, at, except, is_transient } = publish;
        self.counts.publications += 1;
        let is_kept = self.settings.history.limit > 0 && !is_transient;
        let index = if is_kept { Some(self.find_or_add(name)) } else { self.find(name) };
        let Some(index) = index else { return };
        let change = Change::Published { data, labels, at, except, is_kept, author: None };
        self.commit_change(index, change, now).ok(); // without an author it is never void
    }

    /// Handles a publication of a subscriber.
    pub(super) fn publish_from(
        &mut self,
        index: u32,
        (data, at): (RawJson, u64),
        author: Option<Subscription>,
        now: Instant,
    ) -> Result<(), Void> {
        let is_kept = self.settings.history.limit > 0;
        let (labels, except) = (Labels::default(), None);
        let change = Change::Published { data, labels, at, except, is_kept, author };
        self.commit_change(index, change, now)?;
        self.counts.publications += 1;
        Ok(())
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

    /// Answers the request of a subscribe that has one, if it is confirmed.
    pub(super) fn start_history(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        request: Option<&HistoryRequest>,
        is_confirmed: bool,
    ) {
        let Some(request) = request else { return };
        if is_confirmed {
            self.answer_history(index, key, request);
        } else if let Some(joint) = &request.joint {
            let recipient = self.live_subscriber(index, key).recipient.clone();
            self.send_part(recipient, key, None, joint);
        }
    }

    /// Answers the request of a command.
    pub(super) fn give_history(
        &mut self,
        name: &StreamName,
        key: &SubscriberKey,
        recipient: R,
        request: &HistoryRequest,
    ) {
        match (self.subscription(name, key), &request.joint) {
            (Some(index), _) => {
                let is_confirmed = self.answer_history(index, key, request);
                self.counts.commands.push((CommandKind::History, is_confirmed));
            }
            (None, Some(joint)) => {
                self.send_part(recipient, key, Some(ServerMessage::HistoryRejected), joint);
            }
            (None, None) => self.send(recipient, key, vec![ServerMessage::NotSubscribed]),
        }
    }

    /// Answers a history request; returns whether all of it could be sent. It ends at this place in the
    /// stream's order, or at the resume for the first command after it, since later publications are sent
    /// live.
    fn answer_history(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        request: &HistoryRequest,
    ) -> bool {
        let stream = self.streams.live_mut(index);
        let subscriber = live_subscriber_mut(&mut stream.groups, key);
        let (live_after, is_held) = (subscriber.live_after(), subscriber.is_held);
        let recipient = subscriber.recipient.clone();
        let mut answer = if self.settings.history.limit == 0 {
            vec![ServerMessage::HistoryRejected]
        } else {
            let max = self.settings.max_answer;
            let up_to = live_after.unwrap_or(stream.state.head());
            stream
                .history
                .answer((&stream.name, stream.head()), request, up_to, max)
                .unwrap_or_else(|_| {
                    self.counts.limits.push(Limit::AnswerSize);
                    vec![ServerMessage::HistoryRejected]
                })
        };
        let is_confirmed = answer.last() == Some(&ServerMessage::HistoryConfirmed);
        self.counts.histories.push(is_confirmed);
        let part = request.joint.as_ref().map(|joint| (answer.pop(), joint));
        if is_held {
            // what it missed comes before what it was kept from
            self.send(recipient.clone(), key, answer);
        } else {
            self.reply(index, key, answer);
        }
        if let Some((part, joint)) = part {
            self.send_part(recipient, key, part, joint);
        }
        if is_held {
            self.release(index, key);
        }
        is_confirmed
    }

    pub(super) fn drop_oldest(&mut self, stream: u32, cause: DropCause) {
        let stream = self.streams.live_mut(stream);
        self.totals.history_bytes -= stream.history.drop_oldest();
        if stream.history.is_empty() {
            self.totals.history_bytes -= stream.weight();
        }
        self.totals.publications -= 1;
        self.counts.dropped.push(cause);
    }

    pub(super) fn next_expiry(&self, stream: u32) -> Option<Instant> {
        self.streams.get(stream)?.history.next_expiry()
    }

    /// Sets the timer of a stream's oldest publication; forgets the stream if it is idle.
    pub(super) fn await_expiry(&mut self, stream: u32) {
        match self.next_expiry(stream) {
            Some(expires) => drop(self.expiries.add(expires, stream)),
            None => self.forget_if_idle(stream),
        }
    }
}
