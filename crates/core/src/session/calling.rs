//! Commands about the application's channels: the application says what they do.
//!
//! ```text
//! subscribe, unsubscribe, message ─▶ Action::Ask { Question::Call } ─ held in the line of its subscription
//! answer(ticket, Verdict::Called) ─▶ poll_action: the application's messages, then what its streams do
//! ```
//!
//! The messages of an answer come first, so that a client is confirmed before its streams speak; these begin right
//! behind, without a gap.

use super::action::{Action, Consequence};
use super::channels::{PRESENCE, WHISPERS};
use super::question::{Question, Ticket};
use super::refusals::{NO_SUBSCRIPTION, check_presence, error, refuse};
use super::session::Session;
use super::subscription::Subscription;
use super::tickets::{HeldCall, Replied, Start};
use crate::auth::Rights;
use crate::types::{
    CallFailure, ChannelCommand, ClientCommand, CloseReason, CommandKind, Grant, Identifier, Join,
    Limit, Limits, PresenceReply, Reply, ReplyStatus, StreamCommand, StreamName, Subscribe,
    SubscribeOptions, Target,
};

/// What a session says of a command that the application failed to answer.
const FAILED: &str = "the application failed: its log says why";
/// Of one that it refused without a message of its own.
const REFUSED: &str = "the application refuses it";

impl Session {
    /// Whether the application decides about a command.
    #[inline] // most sessions have no channels
    pub(super) fn is_about_channel(&self, command: &ClientCommand<'_>) -> bool {
        self.channels.is_some()
            && match command {
                ClientCommand::Subscribe { identifier, target: Target::Channel(_), .. } => {
                    self.position(identifier).is_none()
                }
                ClientCommand::Unsubscribe { identifier } => self.is_channel(identifier),
                ClientCommand::Perform { .. } => true,
                ClientCommand::Subscribe { .. }
                | ClientCommand::Join { .. }
                | ClientCommand::Update { .. }
                | ClientCommand::Leave { .. }
                | ClientCommand::Presence { .. }
                | ClientCommand::History { .. }
                | ClientCommand::Whisper { .. }
                | ClientCommand::Publish { .. }
                | ClientCommand::Ping
                | ClientCommand::Pong => false,
            }
    }

    /// Asks what such a command does.
    pub(super) fn decide_about_channel(
        &mut self,
        command: ClientCommand<'_>,
        limits: &Limits,
    ) -> Action {
        let kind = command.kind();
        match command {
            ClientCommand::Subscribe { identifier, history, join, watch, .. } => {
                self.subscribe_to_channel(&identifier, Start { history, join, watch }, limits)
            }
            ClientCommand::Unsubscribe { identifier } => self.unsubscribe_from_channel(&identifier),
            ClientCommand::Perform { identifier, data } => {
                self.perform(&identifier, data.as_deref())
            }
            ClientCommand::Join { .. }
            | ClientCommand::Update { .. }
            | ClientCommand::Leave { .. }
            | ClientCommand::Presence { .. }
            | ClientCommand::History { .. }
            | ClientCommand::Whisper { .. }
            | ClientCommand::Publish { .. }
            | ClientCommand::Ping
            | ClientCommand::Pong => Action::Nothing(kind), // its streams do
        }
    }

    /// Asks what a subscription follows, if the limits allow one more.
    fn subscribe_to_channel(&mut self, identifier: &str, start: Start, limits: &Limits) -> Action {
        let refused =
            |reason: String| refuse(CommandKind::Subscribe, Some(identifier), None, reason.into());
        let asked = self.tickets.as_ref().map_or(0, |tickets| tickets.subscribing());
        if self.subscriptions.len() + asked >= limits.subscriptions {
            self.set_exceeded(Limit::Subscriptions);
            let max = limits.subscriptions;
            return refused(format!("at most {max} subscriptions are allowed: end one first"));
        }
        if identifier.len() > limits.identifier_size {
            self.set_exceeded(Limit::IdentifierSize);
            let max = limits.identifier_size;
            return refused(format!("the name is too long: at most {max} bytes are allowed"));
        }
        let identifier = Identifier::shared(identifier);
        self.call(ChannelCommand::Subscribe, identifier, Box::default(), Some(start))
    }

    /// Ends a channel's subscription, and tells the application.
    fn unsubscribe_from_channel(&mut self, identifier: &str) -> Action {
        let Some(held) = self.take_out(identifier) else {
            return Action::Nothing(CommandKind::Unsubscribe);
        };
        let identifier = held.identifier.clone();
        let ended = if held.streams().next().is_some() {
            self.unsubscribe(held, None)
        } else {
            Action::Nothing(CommandKind::Unsubscribe)
        };
        let call = self.call(ChannelCommand::Unsubscribe, identifier.clone(), Box::default(), None);
        let is_kept = self.channels.as_mut().is_some_and(|channels| {
            channels.end(identifier.as_str());
            channels.change()
        });
        let due = &mut self.tickets.get_or_insert_default().due;
        due.extend(is_kept.then_some((Action::Follow(Consequence::Keep), None)));
        due.push_back((call, None));
        ended
    }

    /// Asks what an action does.
    fn perform(&mut self, identifier: &str, data: Option<&str>) -> Action {
        let kind = CommandKind::Perform;
        let Some(data) = data.and_then(|json| serde_json::from_str::<Box<str>>(json).ok()) else {
            return error(kind, "the data to perform is missing or not a string");
        };
        let held = self.position(identifier).and_then(|at| self.subscriptions.get(at));
        let Some(held) = held else { return error(kind, NO_SUBSCRIPTION) };
        if !self.is_channel(identifier) {
            return error(kind, "this subscription performs nothing: it is no channel");
        }
        self.call(ChannelCommand::Message, held.identifier.clone(), data, None)
    }

    /// Whether the subscription of an identifier is a channel of the application.
    fn is_channel(&self, identifier: &str) -> bool {
        self.channels.as_ref().is_some_and(|channels| channels.channel(identifier).is_some())
    }

    fn call(
        &mut self,
        kind: ChannelCommand,
        identifier: Identifier,
        data: Box<str>,
        start: Option<Start>,
    ) -> Action {
        let sid = self.id();
        let Some(channels) = &mut self.channels else {
            return Action::Nothing(CommandKind::Perform);
        };
        let call = channels.command(sid, kind, &identifier, data);
        let tickets = self.tickets.get_or_insert_default();
        let ticket = tickets.give();
        tickets.call(identifier, HeldCall { ticket, kind, start });
        Action::Ask { ticket, question: Question::Call(Box::new(call)) }
    }

    /// A client repeats a subscribe that the application is being asked about.
    pub(super) fn ask_again(&mut self, ticket: Ticket) -> Action {
        let Some(channels) = &mut self.channels else {
            return Action::Nothing(CommandKind::Subscribe);
        };
        Action::Ask { ticket, question: Question::CallAgain(channels.number()) }
    }

    /// Applies an answer of the application, or its absence. What follows from it is due then.
    pub(super) fn take_reply(&mut self, replied: Replied, limits: &Limits) {
        let Replied { identifier, call: HeldCall { kind, start, .. }, reply } = replied;
        let is_change = reply.as_ref().is_ok_and(|reply| changes(kind, reply));
        let is_kept = is_change && self.channels.as_mut().is_some_and(|it| it.change());
        let mut out = Vec::new();
        out.extend(is_kept.then_some(Action::Follow(Consequence::Keep)));
        match (kind, start) {
            (ChannelCommand::Subscribe, Some(start)) => {
                self.subscribed(&identifier, start, reply, limits, &mut out);
            }
            (ChannelCommand::Message, _) => self.performed(&identifier, reply, limits, &mut out),
            // its streams have ended already, and no client waits for an answer
            (ChannelCommand::Unsubscribe | ChannelCommand::Subscribe, _) => {
                if let Ok(mut reply) = reply {
                    self.take_messages(&identifier, &mut reply, &mut out);
                    close_if_asked(&reply, &mut out);
                }
            }
        }
        cork(&mut out);
        let due = out.into_iter().map(|action| (action, None));
        self.tickets.get_or_insert_default().due.extend(due);
    }

    fn subscribed(
        &mut self,
        identifier: &Identifier,
        Start { history, join, watch }: Start,
        reply: Result<Box<Reply>, CallFailure>,
        limits: &Limits,
        out: &mut Vec<Action>,
    ) {
        let key = identifier.as_str();
        let rejected =
            |reason: &'static str| refuse(CommandKind::Subscribe, Some(key), None, reason.into());
        let Ok(mut reply) = reply else {
            // a client takes a rejection as final, but asks again when it has reconnected
            return out.push(Action::Follow(Consequence::Close(CloseReason::ServerError)));
        };
        if reply.status == ReplyStatus::Success {
            if self.subscriptions.is_empty() {
                self.subscriptions.reserve_exact(1); // as of other subscriptions
            }
            self.subscriptions.push(Subscription::of_channel(identifier.clone(), watch));
            if let Some(channels) = &mut self.channels {
                channels.begin(identifier.clone());
            }
        }
        let speaks = self.take_messages(identifier, &mut reply, out);
        match reply.status {
            ReplyStatus::Success => {}
            ReplyStatus::Failure if speaks => return close_if_asked(&reply, out),
            ReplyStatus::Failure => out.push(rejected(REFUSED)),
            ReplyStatus::Error => out.push(rejected(FAILED)),
        }
        if reply.status == ReplyStatus::Success {
            self.follow(identifier, &reply, limits, out);
            if let Some(request) = history {
                let command = |_| Ok(StreamCommand::History(request));
                let action = self.forward(CommandKind::History, key, None, command);
                self.add(action, out);
            }
            self.take_presence(identifier, &reply, limits, out);
            let join = join.map(|join| match join {
                Ok(join) => self.join(key, (join, StreamCommand::Join), None, limits),
                Err(reason) => {
                    let kind = CommandKind::Join;
                    let command = |_| Ok(StreamCommand::RefusePresence(kind, reason));
                    self.forward(kind, key, None, command)
                }
            });
            if let Some(action) = join {
                self.add(action, out);
            }
        }
        close_if_asked(&reply, out);
    }

    fn performed(
        &mut self,
        identifier: &Identifier,
        reply: Result<Box<Reply>, CallFailure>,
        limits: &Limits,
        out: &mut Vec<Action>,
    ) {
        let kind = CommandKind::Perform;
        let mut reply = match reply {
            Ok(reply) => reply,
            Err(failure) => return out.push(error(kind, failure.reason())),
        };
        let speaks = self.take_messages(identifier, &mut reply, out);
        match reply.status {
            ReplyStatus::Success => {
                self.follow(identifier, &reply, limits, out);
                self.take_presence(identifier, &reply, limits, out);
                out.push(Action::Nothing(kind));
            }
            ReplyStatus::Failure if speaks => {}
            ReplyStatus::Failure => out.push(error(kind, REFUSED)),
            ReplyStatus::Error => out.push(error(kind, FAILED)),
        }
        close_if_asked(&reply, out);
    }

    /// Takes the state and the messages of an answer; returns whether there are messages.
    fn take_messages(
        &mut self,
        identifier: &Identifier,
        reply: &mut Reply,
        out: &mut Vec<Action>,
    ) -> bool {
        if let Some(channels) = &mut self.channels {
            channels.merge(identifier.as_str(), reply);
        }
        let messages = std::mem::take(&mut reply.transmissions);
        let speaks = !messages.is_empty();
        out.extend(speaks.then_some(Action::Follow(Consequence::Transmit(messages))));
        speaks
    }

    /// Stops and starts a subscription's streams as the application says, and gives rights in those that the channel's
    /// state names.
    fn follow(
        &mut self,
        identifier: &Identifier,
        reply: &Reply,
        limits: &Limits,
        out: &mut Vec<Action>,
    ) {
        let state = self.channels.as_ref().and_then(|it| it.channel(identifier.as_str()));
        let named = |key| state.and_then(|state| state.text(key)).map(StreamName::from);
        let (presence, whispers) = (named(PRESENCE), named(WHISPERS));
        let rights_in = |stream: &StreamName| Rights {
            join: presence.as_ref() == Some(stream),
            whisper: whispers.as_ref() == Some(stream),
        };
        let Some(at) = self.position(identifier.as_str()) else { return };
        let Some(held) = self.subscriptions.get(at) else { return };
        let (watch, identity) = (held.watch, self.identity());
        let before: Vec<(StreamName, Rights)> =
            held.rights().map(|(stream, rights)| (stream.clone(), rights)).collect();
        let stops = |stream: &StreamName| {
            reply.stop_streams || reply.stopped_streams.iter().any(|it| it == stream.as_str())
        };
        let left = before.iter().map(|(stream, _)| stream).filter(|stream| !stops(stream));
        let mut after: Vec<StreamName> = left.cloned().collect();
        // who joins somewhere sees who else is there
        let streams = reply.streams.iter().map(String::as_str);
        for name in streams.chain(presence.as_ref().map(StreamName::as_str)) {
            if name.is_empty() || name.len() > limits.stream_name_size {
                out.push(Action::Follow(Consequence::Report(
                    "a stream's name is empty or too long",
                )));
            } else if !after.iter().any(|held| held.as_str() == name) {
                after.push(StreamName::shared(name));
            }
        }
        let forward = |stream: &StreamName, command| Action::Forward {
            stream: stream.clone(),
            identifier: identifier.clone(),
            watch,
            command,
        };
        let mut departed = 0;
        for (stream, rights) in &before {
            let command = if !after.contains(stream) {
                StreamCommand::Unsubscribe
            } else if rights.join && !rights_in(stream).join {
                StreamCommand::Leave(None) // presence is about another stream now
            } else {
                continue;
            };
            departed += 1;
            out.push(forward(stream, command));
        }
        let is_new = |stream: &&StreamName| !before.iter().any(|(held, _)| held == *stream);
        for stream in after.iter().filter(is_new) {
            let options = SubscribeOptions { is_quiet: true, ..Default::default() };
            let grant = Grant { rights: rights_in(stream), identity };
            let subscribe = Subscribe { join: None, history: None, grant, options };
            out.push(forward(stream, StreamCommand::from(subscribe)));
        }
        let after = after.into_iter().map(|stream| {
            let rights = rights_in(&stream);
            (stream, rights)
        });
        if let Some(held) = self.subscriptions.get_mut(at) {
            held.set_streams(after);
        }
        self.departed = self.departed.saturating_add(departed);
    }

    /// Lets the application's member join or leave.
    fn take_presence(
        &mut self,
        identifier: &Identifier,
        reply: &Reply,
        limits: &Limits,
        out: &mut Vec<Action>,
    ) {
        let Some(presence) = &reply.presence else { return };
        let held = self.position(identifier.as_str()).and_then(|at| self.subscriptions.get(at));
        if !held.is_some_and(Subscription::may_join) {
            return out.push(Action::Follow(Consequence::Report(
                "presence needs a stream: name it as `$p` in istate",
            )));
        }
        let (kind, command) = match presence {
            PresenceReply::Join { id, info, ttl } => {
                let join = Join { id: id.as_str().into(), info: info.clone(), extra: None };
                if check_presence(&join, limits).is_err() {
                    return out.push(Action::Follow(Consequence::Report(
                        "a presence id or info is empty or too long",
                    )));
                }
                if let Some(channels) = &mut self.channels {
                    channels.set_ttl(identifier.as_str(), *ttl);
                }
                (CommandKind::Join, StreamCommand::Join(join))
            }
            PresenceReply::Leave { id } => {
                self.departed = self.departed.saturating_add(1);
                (CommandKind::Leave, StreamCommand::Leave(Some(id.as_str().into())))
            }
        };
        let action = self.forward(kind, identifier.as_str(), None, |_| Ok(command));
        let action = self.after_join(action, None, limits);
        self.add(action, out);
    }

    /// Adds an action, and behind it those that it has led to.
    fn add(&mut self, action: Action, out: &mut Vec<Action>) {
        out.push(action);
        if let Some(tickets) = &mut self.tickets {
            out.extend(tickets.due.drain(..).map(|(action, _)| action));
        }
    }
}

/// Has messages held back until the streams have what follows from the same answer.
fn cork(actions: &mut Vec<Action>) {
    let is_message = |action: &Action| matches!(action, Action::Follow(Consequence::Transmit(_)));
    let is_subscribe = |action: &Action| {
        matches!(action, Action::Forward { command: StreamCommand::Subscribe(_), .. })
    };
    if let Some(first) = actions.iter().position(is_message)
        && actions.iter().any(is_subscribe)
    {
        actions.insert(first, Action::Follow(Consequence::Cork));
        actions.push(Action::Follow(Consequence::Uncork));
    }
}

/// Whether an answer changes what the application knows of the session.
fn changes(kind: ChannelCommand, reply: &Reply) -> bool {
    let has_ttl = matches!(&reply.presence, Some(PresenceReply::Join { .. }));
    let is_new = kind == ChannelCommand::Subscribe && reply.status == ReplyStatus::Success;
    let streams =
        reply.stop_streams || !reply.streams.is_empty() || !reply.stopped_streams.is_empty();
    is_new || streams || has_ttl || !reply.connection.is_empty() || !reply.channel.is_empty()
}

fn close_if_asked(reply: &Reply, out: &mut Vec<Action>) {
    if reply.disconnect {
        out.push(Action::Follow(Consequence::Close(CloseReason::Application)));
    }
}
