//! Commands of clients, and replies to them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::{Shard, weight};
use crate::log::{Change, Void};
use crate::shard::delivery::{Delivery, Destination};
use crate::shard::input::SubscriberKey;
use crate::shard::member_lists::repeat_to;
use crate::shard::stream::Stream;
use crate::types::{
    CommandKind, JoinCause, JointAnswer, Limit, Reference, ServerMessage, StreamCommand,
    StreamName, Subscribe, SubscribeOptions, Watch,
};

impl<R: Destination> Shard<R> {
    pub(super) fn command(
        &mut self,
        name: &StreamName,
        key: &SubscriberKey,
        recipient: R,
        command: StreamCommand,
        now: Instant,
    ) {
        match command {
            StreamCommand::Subscribe(subscribe) => {
                let Subscribe { join, history, grant, options } = *subscribe;
                let SubscribeOptions {
                    list_before,
                    list_after,
                    is_announced,
                    ends,
                    repeat,
                    is_quiet,
                } = options;
                if ends.is_some() {
                    self.change_watch(name, key);
                }
                let (stream, is_new) = self.subscribe(name, key, recipient, grant);
                let is_confirmed = self.confirm(stream, key, (repeat, is_quiet), history.is_some());
                self.count_accepted(CommandKind::Subscribe);
                if ends.is_some() {
                    let reference = std::mem::replace(&mut self.reference, ends);
                    self.reply(stream, key, [ServerMessage::Ended]);
                    self.reference = reference;
                }
                self.is_answered = true;
                self.start_history(stream, key, history.as_ref(), is_confirmed);
                if is_announced && is_new {
                    self.commit_change(stream, Change::Arrived, now).ok(); // it is never void
                }
                if key.group.watch == Watch::Occupancy {
                    if is_confirmed && !is_quiet {
                        self.send_occupancy_to(stream, key);
                    }
                } else if let Some(listing) = list_before {
                    self.list(stream, key, listing);
                }
                match join {
                    Some(Ok(join)) => {
                        self.join(stream, key, join, (JoinCause::Subscribed, false), now);
                    }
                    Some(Err(reason)) => self.refuse(stream, key, CommandKind::Join, reason),
                    None => {}
                }
                if let Some(listing) = list_after {
                    self.list_ahead(stream, key, listing);
                }
            }
            StreamCommand::Unsubscribe => self.give_up(name, key, now),
            StreamCommand::Join(join) => {
                let Some(stream) = self.subscribed(name, key, &recipient) else { return };
                if self.join(stream, key, join, (JoinCause::Joined, false), now) {
                    self.done(stream, key);
                }
            }
            StreamCommand::Update(join) => {
                let Some(stream) = self.subscribed(name, key, &recipient) else { return };
                if self.join(stream, key, join, (JoinCause::Joined, true), now) {
                    self.done(stream, key);
                }
            }
            StreamCommand::Leave(id) => {
                if let Some(stream) = self.subscribed(name, key, &recipient)
                    && self.leave(stream, key, id, now)
                {
                    self.done(stream, key);
                }
            }
            StreamCommand::List(listing) => {
                let Some(stream) = self.subscribed(name, key, &recipient) else { return };
                self.list(stream, key, listing);
            }
            StreamCommand::History(request) => {
                self.give_history(name, key, recipient, &request);
            }
            StreamCommand::Whisper { whisper, members_only } => {
                let Some(stream) = self.subscribed(name, key, &recipient) else { return };
                let author = members_only.then(|| key.subscription());
                let change = Change::Whispered { whisper, from: key.session, author };
                match self.commit_change(stream, change, now) {
                    Ok(()) => {
                        self.done(stream, key);
                        self.count_accepted(CommandKind::Whisper);
                    }
                    Err(void) => self.refuse_void(stream, key, CommandKind::Whisper, void),
                }
            }
            StreamCommand::Publish { data, at, members_only } => {
                let Some(stream) = self.subscribed(name, key, &recipient) else { return };
                let author = members_only.then(|| key.subscription());
                match self.publish_from(stream, (data, at), author, now) {
                    Ok(()) => {
                        self.done(stream, key);
                        self.count_accepted(CommandKind::Publish);
                    }
                    Err(void) => self.refuse_void(stream, key, CommandKind::Publish, void),
                }
            }
            StreamCommand::RefusePresence(kind, reason) => {
                let Some(stream) = self.subscribed(name, key, &recipient) else { return };
                self.refuse(stream, key, kind, reason);
            }
        }
    }

    /// The stream of a command, if its client has subscribed to it.
    pub(super) fn subscription(&self, name: &StreamName, key: &SubscriberKey) -> Option<u32> {
        self.find(name).filter(|index| self.subscriber(*index, key).is_some())
    }

    /// The same; else that is the reply.
    fn subscribed(&mut self, name: &StreamName, key: &SubscriberKey, recipient: &R) -> Option<u32> {
        let index = self.subscription(name, key);
        if index.is_none() {
            self.send(recipient.clone(), key, vec![ServerMessage::NotSubscribed]);
        }
        index
    }

    /// Sends messages to one subscriber, after its unsent ones.
    pub(super) fn reply(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        answer: impl IntoIterator<Item = ServerMessage>,
    ) {
        let stream = self.streams.live_mut(index);
        let Stream { groups, window, held, state, .. } = stream;
        let group = groups.get_mut(&key.group);
        let Some(subscriber) = group.and_then(|group| group.get_mut(&key.session)) else { return };
        let was_held = subscriber.is_held;
        let mut messages = Stream::catch_up(window, held, subscriber, self.now);
        repeat_to(&key.group, &mut messages, || {
            state.presence().repeated(self.settings.max_answer)
        });
        messages.extend(answer);
        let recipient = subscriber.recipient.clone();
        self.send(recipient, key, messages);
        if was_held {
            self.give_back(index);
        }
    }

    pub(super) fn send(&mut self, recipient: R, key: &SubscriberKey, messages: Vec<ServerMessage>) {
        if !messages.is_empty() {
            self.reply_weight += weight(&messages);
            let (group, reference) = (key.group.clone(), self.reference.clone());
            self.replies.push_back(Delivery { recipient, group, messages, reference, joint: None });
        }
    }

    /// Sends a stream's part of an answer of several, in the order of its other replies; `None` if it has no answer.
    pub(super) fn send_part(
        &mut self,
        recipient: R,
        key: &SubscriberKey,
        part: Option<ServerMessage>,
        joint: &Arc<JointAnswer>,
    ) {
        let messages = Vec::from_iter(part);
        self.reply_weight += weight(&messages);
        let (group, reference) = (key.group.clone(), self.reference.clone());
        let joint = Some(Arc::clone(joint));
        self.replies.push_back(Delivery { recipient, group, messages, reference, joint });
    }

    /// Confirms a command that has a reference.
    pub(super) fn done(&mut self, index: u32, key: &SubscriberKey) {
        if self.reference.is_some() {
            self.reply(index, key, [ServerMessage::Done]);
        }
    }

    pub(super) fn refuse(
        &mut self,
        stream: u32,
        key: &SubscriberKey,
        kind: CommandKind,
        reason: Cow<'static, str>,
    ) {
        if let (true, Some(reference)) = (self.is_answered, &self.reference) {
            let subscription = reference.subscription.clone();
            self.reference = Some(Arc::new(Reference { subscription, request: None }));
        }
        self.reply(stream, key, [ServerMessage::Refused(reason)]);
        self.counts.commands.push((kind, false));
    }

    /// Refuses a command whose entry was void.
    pub(super) fn refuse_void(
        &mut self,
        stream: u32,
        key: &SubscriberKey,
        kind: CommandKind,
        void: Void,
    ) {
        if let Void::Full(_) = void {
            self.counts.limits.push(Limit::Members);
        }
        self.refuse(stream, key, kind, void.to_string().into());
    }
}
