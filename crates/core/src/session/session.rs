//! The session of one connection.

use std::borrow::Cow;
use std::sync::Arc;

use thin_vec::ThinVec;

use super::action::Action;
use super::channels::Channels;
use super::refusals::{
    NO_SUBSCRIPTION, check_id, check_presence, error, may_speak, nowhere, refuse, unknown,
};
use super::subscription::{Subscription, digest};
use super::tickets::Tickets;
use crate::auth::{Client, PresenceIdPolicy, Rights, Streams};
use crate::types::{
    BadCommand, ClientCommand, CommandKind, ConnectionMessage, Grant, Identifier, Identity, Join,
    JoinRequest, Limit, Limits, NOT_PRESENT, PresenceId, Reference, Repeat, Request, SessionId,
    StreamCommand, StreamName, Subscribe, SubscribeOptions, Target, Watch,
};

/// A session's state, as small as its subscriptions.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    /// The identity that may resume it.
    pub(super) identity: Identity,
    /// See [`Session::presence_id`].
    pub(super) presence_id: Option<PresenceId>,
    pub(super) subscriptions: ThinVec<Subscription>,
    /// What the application knows of it, if it may be asked.
    pub(super) channels: Option<Box<Channels>>,
    /// Open questions, and the commands that wait for the answers.
    pub(super) tickets: Option<Box<Tickets>>,
    /// Number of commands that may remove a record and may not have been applied yet.
    pub(super) departed: u32,
    allowed_ids: AllowedIds,
    /// Whether joins depend on the application's data about the member.
    pub(super) asks: bool,
    /// When repeated subscribes are confirmed.
    repeat: Repeat,
    /// The limit that the last refused command exceeded.
    exceeded: Option<Limit>,
}

// There is one per connection.
const _: () = assert!(size_of::<Session>() <= 80);

/// Presence ids that a client may use: [`PresenceIdPolicy`] without the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AllowedIds {
    Any,
    /// Any; the one of the last join is the default.
    Kept,
    /// Only [`Session::presence_id`].
    One,
    None,
}

impl Session {
    /// A client's session, without subscriptions.
    pub fn new(id: SessionId, client: &Client) -> Self {
        let (allowed_ids, presence_id) = match &client.presence_ids {
            PresenceIdPolicy::Any => (AllowedIds::Any, None),
            PresenceIdPolicy::Default(id) => (AllowedIds::Any, Some(id)),
            PresenceIdPolicy::Only(id) => (AllowedIds::One, Some(id)),
            PresenceIdPolicy::None => (AllowedIds::None, None),
        };
        Self {
            allowed_ids,
            presence_id: presence_id.cloned(),
            ..Self::restored(id, client.identity())
        }
    }

    /// Sets when repeated subscribes are confirmed.
    #[must_use]
    pub fn repeating(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    /// Sets whether joins depend on the application's data about the member.
    #[must_use]
    pub fn asking(self, asks: bool) -> Self {
        Self { asks, ..self }
    }

    /// Sets whether the client's default presence id is that of its last join, if its token sets none.
    #[must_use]
    pub fn keeping_names(self, keeps_names: bool) -> Self {
        match self.allowed_ids {
            AllowedIds::Any if keeps_names => Self { allowed_ids: AllowedIds::Kept, ..self },
            AllowedIds::Any | AllowedIds::Kept | AllowedIds::One | AllowedIds::None => self,
        }
    }

    /// Whether the client's default presence id is that of its last join.
    pub(super) fn keeps_names(&self) -> bool {
        self.allowed_ids == AllowedIds::Kept
    }

    /// An earlier session, without its subscriptions yet. It allows no joins: the connection that resumes
    /// it has its own session.
    pub fn restored(id: SessionId, identity: Identity) -> Self {
        Self {
            id,
            identity,
            presence_id: None,
            subscriptions: ThinVec::new(),
            channels: None,
            tickets: None,
            departed: 0,
            allowed_ids: AllowedIds::None,
            asks: false,
            repeat: Repeat::default(),
            exceeded: None,
        }
    }

    /// Restores a subscription of an earlier session, or one more stream of a subscription.
    pub fn restore(
        &mut self,
        identifier: Identifier,
        stream: StreamName,
        watch: Watch,
        rights: Rights,
    ) {
        match self.held_mut(identifier.as_str()) {
            Some(held) => held.add(stream, rights),
            None => self.subscriptions.push(Subscription::new(identifier, stream, watch, rights)),
        }
    }

    /// Its sid.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The identity that may resume it.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Its subscriptions.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Streams of all subscriptions, each with its subscription.
    pub fn streams(&self) -> impl Iterator<Item = (&Subscription, &StreamName)> {
        let subscriptions = self.subscriptions.iter();
        subscriptions.flat_map(|held| held.streams().map(move |stream| (held, stream)))
    }

    /// The same, each with what it was granted.
    pub fn grants(&self) -> impl Iterator<Item = (&Subscription, &StreamName, Grant)> {
        let identity = self.identity;
        self.subscriptions.iter().flat_map(move |held| {
            held.rights().map(move |(stream, rights)| (held, stream, Grant { rights, identity }))
        })
    }

    /// Ends the session: returns its state, and leaves it without subscriptions and questions.
    #[must_use]
    pub fn end(&mut self) -> Self {
        Self {
            presence_id: self.presence_id.clone(),
            subscriptions: std::mem::take(&mut self.subscriptions),
            channels: self.channels.take(),
            tickets: self.tickets.take(),
            ..*self
        }
    }

    /// Takes over another session's subscriptions; `taken` says for each whether it could be moved.
    pub fn take_over(&mut self, other: Self, taken: impl IntoIterator<Item = bool>) {
        let taken = other.subscriptions.into_iter().zip(taken);
        self.subscriptions = taken.filter_map(|(held, taken)| taken.then_some(held)).collect();
        if self.identity == Identity::BEARER {
            self.identity = other.identity;
        }
        if let Some(channels) = other.channels {
            let held = |identifier: &Identifier| self.position(identifier.as_str()).is_some();
            let channels = channels.taken_over(self.channels.as_deref(), held);
            self.channels = Some(Box::new(channels));
        }
    }

    /// The client's default presence id: that of its token or handshake, or of the last join that a session
    /// which [keeps names](Session::keeping_names) has learned of. Meanwhile [`Session::is_naming`].
    pub fn presence_id(&self) -> Option<&PresenceId> {
        self.presence_id.as_ref()
    }

    /// Takes the limit that the last refused command exceeded, if it exceeded one.
    pub fn take_exceeded(&mut self) -> Option<Limit> {
        self.exceeded.take()
    }

    /// Decides about a client's request. Drain [`Session::poll_action`] afterwards.
    #[inline] // the check is cheaper than a call
    pub fn handle(&mut self, request: Request<'_>, limits: &Limits, streams: &Streams) -> Action {
        if self.tickets.is_some() {
            return self.handle_in_turn(request, limits, streams);
        }
        self.decide(request, limits, streams)
    }

    pub(super) fn decide(
        &mut self,
        request: Request<'_>,
        limits: &Limits,
        streams: &Streams,
    ) -> Action {
        let Request { reference, command } = request;
        let reference = reference.as_ref();
        let command = match command {
            Ok(command) => command,
            Err(bad) => return self.refuse(bad, reference),
        };
        let kind = command.kind();
        if let Some(identifier) = command.identifier()
            && kind != CommandKind::Subscribe
            && self.is_stale(identifier, reference)
        {
            return unknown(kind, identifier, reference);
        }
        if self.is_about_channel(&command) {
            return self.decide_about_channel(command, limits);
        }
        match command {
            ClientCommand::Subscribe { identifier, target, history, join, watch, options } => {
                let was_held = self.position(&identifier);
                if let Err(reason) = self.subscribe(&identifier, target, watch, limits, streams) {
                    return refuse(kind, Some(&identifier), reference, reason);
                }
                let is_part = matches!(&join, Some(Ok(JoinRequest { id: None, .. })));
                let join = match join {
                    Some(Ok(_)) if is_part && !self.joins_unasked(&identifier) => None,
                    Some(Ok(join)) => Some(self.check_join(&identifier, join, limits)),
                    Some(Err(reason)) => Some(Err(reason)),
                    None => None,
                };
                if let (true, Some(Err(reason))) = (is_part, &join) {
                    if was_held.is_none() {
                        self.subscriptions.pop();
                    }
                    return refuse(kind, Some(&identifier), reference, reason.clone());
                }
                let ends = self.refer(&identifier, reference, watch);
                let options = SubscribeOptions { ends, repeat: self.repeat, ..options };
                let identity = self.identity;
                let subscribe = |rights| {
                    let grant = Grant { rights, identity };
                    Ok(StreamCommand::from(Subscribe { join, history, grant, options }))
                };
                let action = self.forward(kind, &identifier, reference, subscribe);
                self.after_join(action, reference, limits)
            }
            ClientCommand::Unsubscribe { identifier } => match self.take_out(&identifier) {
                Some(held) => self.unsubscribe(held, reference),
                None => unknown(kind, &identifier, reference),
            },
            ClientCommand::Join { identifier, join } => {
                self.join(&identifier, (join, StreamCommand::Join), reference, limits)
            }
            ClientCommand::Update { identifier, join } => {
                self.join(&identifier, (join, StreamCommand::Update), reference, limits)
            }
            ClientCommand::Leave { identifier, id } => {
                if self.position(&identifier).is_some() {
                    self.departed = self.departed.saturating_add(1);
                }
                self.forward(kind, &identifier, reference, |_| Ok(StreamCommand::Leave(id)))
            }
            ClientCommand::Presence { identifier, listing } => {
                self.forward(kind, &identifier, reference, |_| Ok(StreamCommand::List(listing)))
            }
            ClientCommand::History { identifier, request } => {
                self.forward(kind, &identifier, reference, |_| Ok(StreamCommand::History(request)))
            }
            ClientCommand::Whisper { identifier, whisper, author } => {
                if let Err(denied) = self.check_author(&identifier, author.as_ref(), limits) {
                    return refuse(kind, Some(&identifier), reference, denied);
                }
                let members_only = author.is_some();
                self.forward(kind, &identifier, reference, |rights| {
                    may_speak(rights).map(|()| StreamCommand::Whisper { whisper, members_only })
                })
            }
            ClientCommand::Publish { identifier, data, at, author } => {
                if let Err(denied) = self.check_author(&identifier, author.as_ref(), limits) {
                    return refuse(kind, Some(&identifier), reference, denied);
                }
                let members_only = author.is_some();
                self.forward(kind, &identifier, reference, |rights| {
                    may_speak(rights).map(|()| StreamCommand::Publish { data, at, members_only })
                })
            }
            ClientCommand::Perform { .. } => error(
                kind,
                "no backend is configured that could perform this action; \
                 publish over HTTP, or whisper to the other subscribers",
            ),
            ClientCommand::Ping => Action::Answer { kind, message: ConnectionMessage::Pong },
            ClientCommand::Pong => Action::Nothing(kind),
        }
    }

    /// Notes the limit that a refused command exceeds.
    pub(super) fn set_exceeded(&mut self, limit: Limit) {
        self.exceeded = Some(limit);
    }

    /// Forwards a join or an update, or its refusal.
    pub(super) fn join(
        &mut self,
        identifier: &str,
        (join, command): (JoinRequest, fn(Join) -> StreamCommand),
        reference: Option<&Arc<Reference>>,
        limits: &Limits,
    ) -> Action {
        let command = match self.check_join(identifier, join, limits) {
            Ok(join) => command(join),
            Err(reason) => StreamCommand::RefusePresence(CommandKind::Join, reason),
        };
        let command = |_| Ok(command);
        let action = self.forward(CommandKind::Join, identifier, reference, command);
        self.after_join(action, reference, limits)
    }

    /// Asks what a join depends on, and what became of it, if that matters.
    #[inline]
    pub(super) fn after_join(
        &mut self,
        action: Action,
        reference: Option<&Arc<Reference>>,
        limits: &Limits,
    ) -> Action {
        if self.keeps_names() {
            self.ask_name(&action);
        }
        if self.may_ask(limits) { self.ask_first(action, reference, limits) } else { action }
    }

    /// Adds a subscription, if the limits and the target allow it. An existing one stays as it is.
    fn subscribe(
        &mut self,
        identifier: &str,
        target: Target,
        watch: Watch,
        limits: &Limits,
        streams: &Streams,
    ) -> Result<(), Cow<'static, str>> {
        if self.position(identifier).is_some() {
            return Ok(());
        }
        if self.subscriptions.len() >= limits.subscriptions {
            self.exceeded = Some(Limit::Subscriptions);
            let max = limits.subscriptions;
            return Err(format!("at most {max} subscriptions are allowed: end one first").into());
        }
        if identifier.len() > limits.identifier_size {
            self.exceeded = Some(Limit::IdentifierSize);
            let max = limits.identifier_size;
            return Err(format!("the name is too long: at most {max} bytes are allowed").into());
        }
        let (stream, rights) = streams.resolve(target).map_err(|error| error.to_string())?;
        if stream.as_str().len() > limits.stream_name_size {
            self.exceeded = Some(Limit::StreamNameSize);
            let max = limits.stream_name_size;
            return Err(format!("the name is too long: at most {max} bytes are allowed").into());
        }
        // shared with other sessions that follow the same stream
        let (identifier, stream) =
            (Identifier::shared(identifier), StreamName::shared(stream.as_str()));
        if self.subscriptions.is_empty() {
            self.subscriptions.reserve_exact(1); // most sessions never have a second one
        }
        self.subscriptions.push(Subscription::new(identifier, stream, watch, rights));
        Ok(())
    }

    /// Sets a subscription's reference. If the previous one is of another subscription in the client's
    /// view, replaces its watch and returns the previous reference.
    fn refer(
        &mut self,
        identifier: &str,
        reference: Option<&Arc<Reference>>,
        watch: Watch,
    ) -> Option<Arc<Reference>> {
        let reference = reference?;
        let held = self.held_mut(identifier)?;
        let before = held.reference.replace(Arc::clone(reference))?;
        if before.subscription.is_none() || before.subscription == reference.subscription {
            return None;
        }
        held.watch = watch;
        Some(before)
    }

    /// Whether a request is about an earlier subscription of the same identifier.
    fn is_stale(&self, identifier: &str, reference: Option<&Arc<Reference>>) -> bool {
        let Some(about) = reference.and_then(|it| it.subscription.as_ref()) else { return false };
        let held = self.position(identifier).and_then(|at| self.subscriptions.get(at));
        let held = held.and_then(|held| held.reference.as_ref()?.subscription.as_ref());
        // without a reference they can't be told apart
        held.is_some_and(|held| held != about)
    }

    /// Whether a subscribe that implies a join does join: the client needs a presence id and the right.
    /// Else it only watches.
    fn joins_unasked(&self, identifier: &str) -> bool {
        let held = self.position(identifier).and_then(|at| self.subscriptions.get(at));
        self.presence_id().is_some() && held.is_some_and(Subscription::may_join)
    }

    /// The presence id of a join: the requested one, or the default.
    fn wanted(&self, join: &JoinRequest) -> Option<PresenceId> {
        join.id.clone().or_else(|| self.presence_id().cloned())
    }

    /// Checks that the client may publish and whisper as `author`. Its stream checks that it is present.
    fn check_author(
        &mut self,
        identifier: &str,
        author: Option<&PresenceId>,
        limits: &Limits,
    ) -> Result<(), Cow<'static, str>> {
        let Some(author) = author else { return Ok(()) };
        if self.position(identifier).is_none() || self.allowed_ids == AllowedIds::None {
            return Err(NOT_PRESENT.into());
        }
        if let Err((limit, reason)) = check_id(author, limits) {
            self.exceeded = limit;
            return Err(reason);
        }
        match self.allowed_ids {
            AllowedIds::One if self.presence_id.as_ref() != Some(author) => {
                Err("the name is not the one of the token".into())
            }
            AllowedIds::Any | AllowedIds::Kept | AllowedIds::One | AllowedIds::None => Ok(()),
        }
    }

    /// Forwards a command to a subscription's stream, if the rights there allow it.
    pub(super) fn forward(
        &mut self,
        kind: CommandKind,
        identifier: &str,
        reference: Option<&Arc<Reference>>,
        command: impl FnOnce(Rights) -> Result<StreamCommand, &'static str>,
    ) -> Action {
        let held = self.position(identifier).and_then(|at| self.subscriptions.get(at));
        let Some(held) = held else { return unknown(kind, identifier, reference) };
        let Some((stream, rights)) = held.stream_for(kind) else {
            if kind == CommandKind::Subscribe && self.repeat == Repeat::Never {
                return Action::Nothing(kind); // the application has confirmed it
            }
            return nowhere(kind, identifier, reference);
        };
        let mut command = match command(rights) {
            Ok(command) => command,
            Err(denied) => return refuse(kind, Some(identifier), reference, denied.into()),
        };
        let (stream, identifier, watch) = (stream.clone(), held.identifier.clone(), held.watch);
        if !held.has_one_stream() {
            command.answer_jointly(held.streams().count());
            let others = held.others(&stream, &command);
            if !others.is_empty() {
                self.tickets.get_or_insert_default().add(others);
            }
        }
        Action::Forward { stream, identifier, watch, command }
    }

    /// Ends a subscription in its streams.
    pub(super) fn unsubscribe(
        &mut self,
        held: Subscription,
        reference: Option<&Arc<Reference>>,
    ) -> Action {
        self.departed = self.departed.saturating_add(1);
        let command = StreamCommand::Unsubscribe;
        if !held.has_one_stream() {
            let Some(first) = held.streams().next() else {
                return unknown(CommandKind::Unsubscribe, held.identifier.as_str(), reference);
            };
            let others = held.others(first, &command);
            self.tickets.get_or_insert_default().add(others);
        }
        let (identifier, watch) = (held.identifier.clone(), held.watch);
        match held.into_first() {
            Some(stream) => Action::Forward { stream, identifier, watch, command },
            None => Action::Nothing(CommandKind::Unsubscribe),
        }
    }

    fn refuse(&mut self, bad: BadCommand<'_>, reference: Option<&Arc<Reference>>) -> Action {
        let BadCommand { kind, identifier, reason } = bad;
        match (kind, identifier) {
            // about an existing subscription, the refusal is in the stream's order
            (CommandKind::Join | CommandKind::Leave | CommandKind::Presence, Some(identifier)) => {
                let command = |_| Ok(StreamCommand::RefusePresence(kind, reason));
                self.forward(kind, &identifier, reference, command)
            }
            (kind, identifier) => refuse(kind, identifier.as_deref(), reference, reason),
        }
    }

    pub(super) fn position(&self, identifier: &str) -> Option<usize> {
        let is_it = |held: &Subscription| held.identifier.as_str() == identifier;
        if self.subscriptions.len() <= FEW {
            return self.subscriptions.iter().position(is_it);
        }
        let digest = digest(identifier);
        self.subscriptions.iter().position(|held| held.digest == digest && is_it(held))
    }

    pub(super) fn take_out(&mut self, identifier: &str) -> Option<Subscription> {
        let held = self.subscriptions.swap_remove(self.position(identifier)?);
        if self.subscriptions.len() < self.subscriptions.capacity() / 4 {
            self.subscriptions.shrink_to_fit();
        }
        Some(held)
    }

    fn held_mut(&mut self, identifier: &str) -> Option<&mut Subscription> {
        let at = self.position(identifier)?;
        self.subscriptions.get_mut(at)
    }

    /// Checks a join: the rights, the presence id, and the limits that don't depend on streams.
    fn check_join(
        &mut self,
        identifier: &str,
        join: JoinRequest,
        limits: &Limits,
    ) -> Result<Join, Cow<'static, str>> {
        let nobody = "this connection has no presence id: give one, or connect with one";
        let id = self.wanted(&join).ok_or(nobody)?;
        let join = Join { id, info: join.info, extra: None };
        let held = self.held_mut(identifier).ok_or(NO_SUBSCRIPTION)?;
        if !held.may_join() {
            return Err("this subscription may not join".into());
        }
        if let Err((limit, reason)) = check_presence(&join, limits) {
            self.exceeded = limit;
            return Err(reason);
        }
        match self.allowed_ids {
            AllowedIds::One if self.presence_id.as_ref() != Some(&join.id) => {
                return Err("the presence id is not the one of the token".into());
            }
            AllowedIds::None => return Err("there is no token that gives a presence id".into()),
            AllowedIds::Any | AllowedIds::Kept | AllowedIds::One => {}
        }
        Ok(join)
    }
}

/// Number of subscriptions up to which identifiers are compared without their digest.
const FEW: usize = 4;
