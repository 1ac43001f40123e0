//! What the application knows of a session: who it is, and the state of its channels.

use std::num::NonZero;
use std::sync::Arc;

use thin_vec::ThinVec;

use super::subscription::Subscription;
use crate::log::{ChannelState, SessionState};
use crate::types::{
    About, Call, ChannelCommand, Identifier, Identity, Origin, Reply, SessionId, State,
};

/// A subscription that is a channel of the application.
#[derive(Clone, Debug)]
struct Channel {
    identifier: Identifier,
    state: State,
    /// How long its member stays after the connection's end, in seconds; `None` is the default.
    ttl: Option<NonZero<u32>>,
}

/// What the log has of a session's channels.
#[derive(Clone, Copy, Debug, Default)]
struct InLog {
    /// Whether it has something.
    is_there: bool,
    /// Whether something has changed that it doesn't have.
    has_changed: bool,
}

/// The application's side of a session. Boxed: only sessions that may ask the application have one.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The session's first id; it has another one after each resume.
    first: SessionId,
    /// Number of calls so far.
    calls: u32,
    /// Whether the client resumes the session when it reconnects.
    resumes: bool,
    /// Whether the application was asked about anything that it should know the end of.
    is_known: bool,
    /// Whether it was told that the session is over, which was neither resumed nor asked about since.
    is_told: bool,
    /// What the log has of them, if they are kept there.
    log: Option<InLog>,
    origin: Arc<Origin>,
    identifiers: Arc<str>,
    connection: State,
    open: ThinVec<Channel>,
}

impl Channels {
    /// Of a new session. `identifiers` are those of its token, or empty until the application
    /// [has them](Channels::connected).
    pub fn new(session: SessionId, origin: Arc<Origin>, identifiers: &str, resumes: bool) -> Self {
        Self {
            first: session,
            calls: 0,
            resumes,
            is_known: false,
            is_told: false,
            log: None,
            origin,
            identifiers: identifiers.into(),
            connection: State::default(),
            open: ThinVec::new(),
        }
    }

    /// Those of a session that a log has.
    pub fn restored(state: &SessionState) -> Self {
        let channels = state.channels.iter();
        let open = channels.map(|ChannelState { identifier, state, ttl, .. }| Channel {
            identifier: identifier.clone(),
            state: state.clone(),
            ttl: *ttl,
        });
        Self {
            first: state.first,
            calls: 0,
            resumes: state.resumes,
            is_known: state.is_known,
            is_told: state.is_told,
            log: Some(InLog { is_there: true, has_changed: false }),
            origin: Arc::new(state.origin.clone()),
            identifiers: state.identifiers.as_ref().into(),
            connection: state.connection.clone(),
            open: open.collect(),
        }
    }

    /// Sets whether changes are kept in the log: see [`Session::state`](super::Session::state).
    #[must_use]
    pub fn keeping(self, is_kept: bool) -> Self {
        Self { log: is_kept.then(InLog::default), ..self }
    }

    /// Whether changes are kept in the log.
    pub fn is_kept(&self) -> bool {
        self.log.is_some()
    }

    /// Notes that something has changed; returns whether that is to be kept.
    pub fn change(&mut self) -> bool {
        if let Some(log) = &mut self.log {
            log.has_changed = true;
        }
        self.log.is_some()
    }

    /// Whether something has changed that is to be kept; it counts as kept from then on.
    pub fn take_changed(&mut self) -> bool {
        let Some(log) = &mut self.log else { return false };
        log.is_there |= log.has_changed;
        std::mem::take(&mut log.has_changed)
    }

    /// Whether the log has something of them.
    pub fn is_in_log(&self) -> bool {
        self.log.is_some_and(|log| log.is_there)
    }

    /// What the log keeps of them, for a session with these subscriptions.
    pub(super) fn state(&self, identity: Identity, held: &[Subscription]) -> SessionState {
        let of = |identifier: &Identifier| held.iter().find(|it| it.identifier == *identifier);
        let open = self.open.iter().filter_map(|Channel { identifier, state, ttl }| {
            let held = of(identifier)?;
            Some(ChannelState {
                identifier: identifier.clone(),
                watch: held.watch,
                state: state.clone(),
                ttl: *ttl,
                streams: held.rights().map(|(stream, rights)| (stream.clone(), rights)).collect(),
            })
        });
        SessionState {
            first: self.first,
            identity,
            resumes: self.resumes,
            is_known: self.is_known,
            is_told: self.is_told,
            origin: Origin::clone(&self.origin),
            identifiers: (*self.identifiers).into(),
            connection: self.connection.clone(),
            channels: open.collect(),
        }
    }

    /// The question whether the client may connect.
    pub fn connect(&mut self) -> Call {
        self.call(self.first, About::Connect)
    }

    /// Takes the answer that the client may.
    pub fn connected(&mut self, reply: &mut Reply) {
        self.is_known = true;
        self.change();
        self.identifiers = reply.identifiers.as_str().into();
        self.connection.merge(reply.connection.drain(..));
    }

    /// Whether the client resumes the session when it reconnects. Otherwise it is over with its connection, and the
    /// application learns so at once.
    pub fn resumes(&self) -> bool {
        self.resumes
    }

    /// What the application calls the connection.
    pub fn identifiers(&self) -> &str {
        &self.identifiers
    }

    /// Whether the application was asked about anything that it should know the end of.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether it was told that the session is over, which was neither resumed nor asked about since.
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    /// The notice that the session is over, though it may be resumed.
    pub fn disconnect_early(&mut self, session: SessionId) -> Call {
        self.is_told = true;
        self.change();
        self.clone().disconnect(session)
    }

    /// The notice that the session is over.
    pub fn disconnect(mut self, session: SessionId) -> Call {
        let open = std::mem::take(&mut self.open).into_iter();
        let channels = open.map(|Channel { identifier, state, .. }| (identifier, state)).collect();
        self.call(session, About::Disconnect(channels))
    }

    /// The question what a client's command does.
    pub(super) fn command(
        &mut self,
        session: SessionId,
        kind: ChannelCommand,
        identifier: &Identifier,
        data: Box<str>,
    ) -> Call {
        if !self.is_known || self.is_told {
            self.change();
        }
        (self.is_known, self.is_told) = (true, false);
        let channel = self.channel(identifier.as_str()).cloned().unwrap_or_default();
        let identifier = identifier.clone();
        self.call(session, About::Command { kind, identifier, data, channel })
    }

    /// The number of one more call.
    pub(super) fn number(&mut self) -> u32 {
        self.calls += 1;
        self.calls
    }

    fn call(&mut self, session: SessionId, about: About) -> Call {
        Call {
            session,
            first: self.first,
            number: self.number(),
            origin: Arc::clone(&self.origin),
            identifiers: Arc::clone(&self.identifiers),
            connection: self.connection.clone(),
            about,
        }
    }

    /// The state of a channel; `None` if the subscription isn't one.
    pub(super) fn channel(&self, identifier: &str) -> Option<&State> {
        Some(&self.open.get(self.position(identifier)?)?.state)
    }

    /// How long a channel's member stays after the connection's end, in seconds, if that is not the default.
    pub(super) fn ttl(&self, identifier: &str) -> Option<NonZero<u32>> {
        self.open.get(self.position(identifier)?)?.ttl
    }

    /// Sets how long it stays, in seconds; 0 is the default.
    pub(super) fn set_ttl(&mut self, identifier: &str, ttl: u32) {
        if let Some(channel) = self.position(identifier).and_then(|at| self.open.get_mut(at)) {
            channel.ttl = NonZero::new(ttl);
        }
    }

    /// A subscription is a channel from now on.
    pub(super) fn begin(&mut self, identifier: Identifier) {
        if self.open.is_empty() {
            self.open.reserve_exact(1); // most sessions never have a second one
        }
        self.open.push(Channel { identifier, state: State::default(), ttl: None });
    }

    /// A subscription is none any more.
    pub(super) fn end(&mut self, identifier: &str) {
        if let Some(at) = self.position(identifier) {
            self.open.swap_remove(at);
        }
    }

    /// The same of a session that resumes it, with the channels that `is_left` says: the application learns how its client
    /// is connected now.
    pub(super) fn taken_over(
        mut self,
        by: Option<&Self>,
        is_left: impl Fn(&Identifier) -> bool,
    ) -> Self {
        self.open.retain(|channel| is_left(&channel.identifier));
        self.is_told = false;
        if let Some(by) = by {
            self.origin = Arc::clone(&by.origin);
        }
        self.change();
        self
    }

    /// Takes the state that an answer has; that of a channel as far as the subscription is one.
    pub(super) fn merge(&mut self, identifier: &str, reply: &mut Reply) {
        self.connection.merge(reply.connection.drain(..));
        if let Some(channel) = self.position(identifier).and_then(|at| self.open.get_mut(at)) {
            channel.state.merge(reply.channel.drain(..));
        }
    }

    fn position(&self, identifier: &str) -> Option<usize> {
        self.open.iter().position(|channel| channel.identifier.as_str() == identifier)
    }
}

/// Key of a channel's state that names the stream of its whispers.
pub(super) const WHISPERS: &str = "$w";

/// Key of a channel's state that names the stream its presence is about.
pub(super) const PRESENCE: &str = "$p";
