//! One connection without its reader: passes commands to the session, executes the session's actions,
//! and ends the session.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;

use super::answers::{Answers, Blocked, input};
use super::ending::EndedConnection;
use super::throttle::{Throttle, Verdict};
use crate::net::admission::Permit;
use crate::net::context::Context;
use crate::outbound::{Recipient, Registration};
use crate::protocol;
use crate::protocol::websocket::{self, Event};
use crate::session::{self, Action, Consequence, Session};
use crate::types::{
    CloseReason, CommandKind, ConnectionMessage, GroupKey, Limit, Reference, Request,
};

/// A connection without its reader.
pub(super) struct Client {
    pub(super) context: Arc<Context>,
    pub(super) outbox: Recipient,
    pub(super) session: Session,
    throttle: Throttle,
    pub(super) waits: Option<Box<Waits>>,
    _permit: Permit,
    registration: Option<Box<Registration>>,
}

/// Events other than received bytes that a connection waits for.
#[derive(Default)]
pub(super) struct Waits {
    /// Room in a shard's queue: nothing is read until then.
    pub(super) blocked: Option<Blocked>,
    /// Answers to the session's questions.
    pub(super) answers: Answers,
    /// A message without a name, which waits for joins before it: nothing is read until then.
    pub(super) nameless: Option<Box<str>>,
    /// The end of the socket.
    pub(super) end: Option<End>,
}

/// The time from the decision to close to the end of the socket.
#[derive(Debug)]
pub(super) struct End {
    pub(super) timeout: Pin<Box<tokio::time::Sleep>>,
    /// The client has closed, or isn't expected to.
    pub(super) client_closed: bool,
    pub(super) half_closed: bool,
}

impl Client {
    /// Counts the connection as open, until [`Self::end_session`].
    pub(super) fn new(
        context: Arc<Context>,
        permit: Permit,
        outbox: Recipient,
        session: Session,
        registration: Option<Box<Registration>>,
    ) -> Self {
        context.instruments.connections_opened.increment(1);
        context.instruments.connections.increment(1.0);
        context.instruments.sessions.increment(1.0);
        outbox.hear(context.heartbeat.beat());
        let throttle = Throttle::new(context.settings.limits.pace, context.heartbeat.beat());
        Self { context, outbox, session, throttle, waits: None, _permit: permit, registration }
    }

    /// Whether the session has ended, so that only the socket's end is awaited.
    pub(super) fn is_ending(&self) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.end.is_some())
    }

    /// Handles a frame; answers go to `out`.
    pub(super) fn handle(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> ControlFlow<()> {
        if let Event::Pong(payload) = event
            && self.ponged(payload, out)
        {
            return ControlFlow::Continue(());
        }
        match event {
            Event::Text(_) | Event::Ping(_) | Event::Pong(_) => match self.verdict() {
                Verdict::Follow => {}
                Verdict::Refuse => {
                    if let Event::Text(text) = event {
                        return self.refuse(text, out);
                    }
                }
                Verdict::Close => {
                    self.send(out);
                    out.clear();
                    self.outbox.close(CloseReason::TooFast);
                    return ControlFlow::Break(());
                }
            },
            Event::Binary | Event::Close(_) => {}
        }
        match event {
            Event::Text(text) => return self.command(text, out),
            Event::Ping(payload) => websocket::write_pong(out, payload),
            Event::Pong(_) => {}
            Event::Binary => {
                self.send(out);
                out.clear();
                self.outbox.close(CloseReason::UnsupportedData);
                return ControlFlow::Break(());
            }
            Event::Close(code) => {
                websocket::write_close(out, code.unwrap_or(1000), "");
                self.send(out);
                out.clear();
                self.outbox.close(CloseReason::ClientClosed);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether a pong answers one of our pings; such a pong doesn't count against the rate limit.
    fn ponged(&self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let beat = self.context.clock.beat(self.context.clock.now());
        let answer = self.outbox.ponged(payload, beat);
        if let Ok(Some(ping)) = answer {
            ping.write(out);
        }
        answer.is_ok()
    }

    /// Applies the rate limit to a frame. Pings beyond it are still answered, as RFC 6455 requires.
    fn verdict(&mut self) -> Verdict {
        match self.context.settings.limits.pace {
            Some(pace) => self.throttle.take(pace, self.context.heartbeat.beat()),
            None => Verdict::Follow,
        }
    }

    /// Refuses a command beyond the rate limit; decodes only its head.
    fn refuse(&mut self, text: &str, out: &mut Vec<u8>) -> ControlFlow<()> {
        let head = protocol::decode_head(self.outbox.codec(), text);
        if matches!(head.kind, CommandKind::Unsubscribe | CommandKind::Pong) {
            return self.command(text, out); // clients expect no reply to these
        }
        self.context.instruments.limits.increment(Limit::CommandsPerSecond);
        let action = session::refuse_excess(&head);
        self.act(action, head.reference, out)
    }

    fn command(&mut self, text: &str, out: &mut Vec<u8>) -> ControlFlow<()> {
        let (codec, presence_id) = (self.outbox.codec(), self.session.presence_id());
        if self.session.is_naming() && protocol::is_nameless(codec, text) {
            self.waits.get_or_insert_default().nameless = Some(text.into());
            return ControlFlow::Break(());
        }
        let request = protocol::decode(codec, text, presence_id, || self.context.clock.unix());
        self.request(request, out)
    }

    /// Lets the session decide about a request, and executes the action.
    pub(super) fn request(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> ControlFlow<()> {
        let reference = request.reference.clone();
        let Context { settings, access, .. } = &*self.context;
        let action = self.session.handle(request, &settings.limits, &access.streams);
        self.count_exceeded();
        self.act(action, reference, out)?;
        if !self.session.is_asking() {
            return ControlFlow::Continue(());
        }
        self.go_on(out)?;
        if self.session.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Executes actions that are due.
    fn go_on(&mut self, out: &mut Vec<u8>) -> ControlFlow<()> {
        let context = Arc::clone(&self.context);
        let Context { settings, access, .. } = &*context;
        while let Some(due) = self.session.poll_action(&settings.limits, &access.streams) {
            self.count_exceeded();
            self.act(due.0, due.1, out)?;
        }
        ControlFlow::Continue(())
    }

    /// Polls for room in a shard and for answers. Pending while nothing more should be read.
    pub(super) fn poll_waits(&mut self, task: &mut Task<'_>, out: &mut Vec<u8>) -> Poll<()> {
        loop {
            if let Some(waits) = &mut self.waits
                && let Some(blocked) = &mut waits.blocked
            {
                ready!(blocked.as_mut().poll(task));
                waits.blocked = None;
            }
            if self.outbox.has_too_many_queries() {
                return Poll::Pending; // the shard that takes a question wakes it
            }
            if self.go_on(out).is_break() || self.take_nameless(out).is_break() {
                continue;
            }
            let Some(waits) = &mut self.waits else { return Poll::Ready(()) };
            match waits.answers.poll_next(task) {
                Poll::Ready(Some((ticket, verdict))) => self.session.answer(ticket, verdict),
                Poll::Ready(None) => self.waits = None,
                Poll::Pending if waits.nameless.is_some() || self.session.is_full() => {
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Ready(()),
            }
        }
    }

    /// Handles a message that waited for a name, if that is known.
    fn take_nameless(&mut self, out: &mut Vec<u8>) -> ControlFlow<()> {
        let waits = self.waits.as_mut().filter(|_| !self.session.is_naming());
        match waits.and_then(|waits| waits.nameless.take()) {
            Some(text) => self.command(&text, out),
            None => ControlFlow::Continue(()),
        }
    }

    fn count_exceeded(&mut self) {
        if let Some(limit) = self.session.take_exceeded() {
            self.context.instruments.limits.increment(limit);
        }
    }

    fn act(
        &mut self,
        action: Action,
        reference: Option<Arc<Reference>>,
        out: &mut Vec<u8>,
    ) -> ControlFlow<()> {
        let codec = self.outbox.codec();
        let instruments = &self.context.instruments;
        match action {
            Action::Forward { stream, identifier, watch, command } => {
                let group = GroupKey { codec, watch, identifier };
                let input = input(self.session.id(), group, &self.outbox, command, reference);
                if let Err(waiting) = self.context.router.try_send(stream, input) {
                    self.waits.get_or_insert_default().blocked = Some(Box::pin(waiting.wait()));
                    return ControlFlow::Break(());
                }
                if self.outbox.has_too_many_queries() {
                    return ControlFlow::Break(());
                }
            }
            Action::Refuse { kind, identifier, message } => {
                instruments.commands_refused.increment(kind);
                let group = GroupKey::new(codec, identifier);
                protocol::encode(&group, &message, reference.as_deref(), out);
            }
            Action::Answer { kind, message } => {
                let refused = matches!(message, ConnectionMessage::Error { .. });
                let outcome =
                    if refused { &instruments.commands_refused } else { &instruments.commands_ok };
                outcome.increment(kind);
                protocol::encode_connection(codec, &message, reference.as_deref(), out);
            }
            Action::Ask { ticket, question } => {
                let by = (self.session.id(), codec, self.session.may_be_resumed());
                let keeping = self.context.keep(&mut self.session);
                let waits = self.waits.get_or_insert_default();
                let asked = waits.answers.ask(&self.context, by, (ticket, question), keeping);
                if let Err(waiting) = asked {
                    waits.blocked = Some(Box::pin(waiting.wait()));
                    return ControlFlow::Break(());
                }
            }
            Action::Follow(consequence) => return self.follow(consequence, out),
            Action::Wait => {}
            Action::Nothing(kind) => instruments.commands_ok.increment(kind),
        }
        ControlFlow::Continue(())
    }

    /// Does what follows from an answer of the application.
    fn follow(&mut self, consequence: Consequence, out: &mut Vec<u8>) -> ControlFlow<()> {
        // in this order: streams write to the outbox themselves
        self.send(out);
        out.clear();
        match consequence {
            Consequence::Cork => self.outbox.cork(),
            Consequence::Uncork => self.outbox.uncork(),
            Consequence::Transmit(messages) => {
                for message in messages {
                    protocol::encode_message(self.outbox.codec(), &message, out);
                }
                self.send(out);
                out.clear();
            }
            Consequence::Close(reason) => {
                self.outbox.close(reason);
                return ControlFlow::Break(());
            }
            Consequence::Keep => {
                if let Some(keeping) = self.context.keep_first(&mut self.session) {
                    self.waits.get_or_insert_default().blocked = Some(keeping);
                    return ControlFlow::Break(());
                }
            }
            Consequence::Report(fault) => {
                tracing::warn!(sid = %self.session.id(), "the application's answer: {fault}");
            }
        }
        ControlFlow::Continue(())
    }

    /// Sends frames from this task.
    pub(super) fn send(&self, frames: &[u8]) {
        if !frames.is_empty() {
            let sent = self.outbox.send(frames, || Bytes::copy_from_slice(frames));
            self.context.instruments.sent_bytes.increment(sent as u64);
        }
    }

    /// Ends the session's subscriptions in their streams.
    pub(super) fn end_session(&mut self, reason: CloseReason) {
        let Context { instruments, clock, .. } = &*self.context;
        instruments.connections.decrement(1.0);
        instruments.sessions.decrement(1.0);
        instruments.closed.increment(reason);
        if reason == CloseReason::TooSlow {
            instruments.outbox_overflows.increment(1);
        }
        tracing::debug!(sid = %self.session.id(), reason = reason.as_ref(), "connection ended");
        let (session, outbox) = (self.session.end(), Arc::clone(&self.outbox));
        let registration = self.registration.take();
        let ended = EndedConnection { session, outbox, registration, reason, at: clock.now() };
        let Waits { blocked, answers, nameless, .. } =
            self.waits.take().map(|it| *it).unwrap_or_default();
        // after a remote disconnect, waiting commands are dropped
        let is_over = matches!(reason, CloseReason::Remote { .. });
        let something_waits = blocked.is_some() || nameless.is_some() || ended.session.is_asking();
        if is_over || !something_waits {
            return ended.end_subscriptions(&self.context);
        }
        let context = Arc::clone(&self.context);
        self.context.tasks.spawn(ended.finish(context, blocked, answers, nameless));
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("session", &self.session).finish_non_exhaustive()
    }
}
