//! One connection's session: what it follows, and what it may do. Pure.
//!
//! A client's command comes in, an [`Action`] comes out: something for a stream's shard, or an
//! answer that needs no stream. What a client is told about a subscription it holds always comes
//! from the stream's shard, so that it stands in the stream's order.

use std::borrow::Cow;

use crate::auth::{Client, JoinsAs, Rights, Streams};
use crate::types::{
    BadCommand, ClientCommand, CommandKind, ConnectionMessage, Grant, Identifier, Identity, Join,
    Limit, Limits, ServerMessage, SessionId, StreamCommand, StreamName, Target,
};

/// A session's state, as small as its subscriptions.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    /// Whom it was given to.
    identity: Identity,
    joins: JoinsAs,
    subscriptions: Vec<Subscription>,
    /// The limit for which the last command was refused.
    exceeded: Option<Limit>,
}

/// A name a client gave to its following of a stream.
#[derive(Debug)]
pub struct Subscription {
    /// The client's name for it.
    pub identifier: Identifier,
    /// What it follows.
    pub stream: StreamName,
    rights: Rights,
    /// It has joined through it, unless the stream refused it.
    joined: bool,
}

/// What is to be done about a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// The stream's shard decides and answers.
    Forward {
        /// The stream.
        stream: StreamName,
        /// The client's name for its subscription.
        identifier: Identifier,
        /// What to do.
        command: StreamCommand,
    },
    /// Tell the client about a subscription it doesn't hold.
    Refuse {
        /// What it was about.
        kind: CommandKind,
        /// The client's name for the subscription.
        identifier: Identifier,
        /// What to tell.
        message: ServerMessage,
    },
    /// Tell the client about the connection.
    Answer {
        /// What it was about.
        kind: CommandKind,
        /// What to tell.
        message: ConnectionMessage,
    },
    /// Nothing: the command was its own purpose.
    Nothing(CommandKind),
}

impl Session {
    /// A client's session, without subscriptions.
    pub fn new(id: SessionId, client: &Client) -> Self {
        let (identity, joins) = (client.identity(), client.joins.clone());
        Self { id, identity, joins, subscriptions: Vec::new(), exceeded: None }
    }

    /// A session from before, without its subscriptions yet. Nobody joins through it: whoever
    /// resumes it gets a session of its own.
    pub fn restored(id: SessionId, identity: Identity) -> Self {
        let joins = JoinsAs::Nobody;
        Self { id, identity, joins, subscriptions: Vec::new(), exceeded: None }
    }

    /// Gives a session from before a subscription back.
    pub fn restore(
        &mut self,
        identifier: Identifier,
        stream: StreamName,
        rights: Rights,
        joined: bool,
    ) {
        self.subscriptions.push(Subscription { identifier, stream, rights, joined });
    }

    /// What the client knows it by.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whom it was given to, and nobody else may resume it.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What it follows.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Ends the session: what is left follows nothing.
    #[must_use]
    pub fn end(&mut self) -> Self {
        Self {
            joins: self.joins.clone(),
            subscriptions: std::mem::take(&mut self.subscriptions),
            ..*self
        }
    }

    /// Follows what another session followed, as far as it could be taken along.
    pub fn take_over(&mut self, other: Self, taken: impl IntoIterator<Item = bool>) {
        let taken = other.subscriptions.into_iter().zip(taken);
        self.subscriptions = taken.filter_map(|(held, taken)| taken.then_some(held)).collect();
    }

    /// The limit for which the last command was refused here, if it was for one.
    pub fn take_exceeded(&mut self) -> Option<Limit> {
        self.exceeded.take()
    }

    /// Decides about a client's command.
    pub fn handle(
        &mut self,
        command: Result<ClientCommand<'_>, BadCommand<'_>>,
        limits: &Limits,
        streams: &Streams,
    ) -> Action {
        let command = match command {
            Ok(command) => command,
            Err(bad) => return self.refuse(bad),
        };
        let kind = command.kind();
        match command {
            ClientCommand::Subscribe { identifier, target, history, join } => {
                if !self.subscribe(&identifier, target, limits, streams) {
                    let identifier = Identifier::from(&*identifier);
                    return Action::Refuse { kind, identifier, message: ServerMessage::Rejected };
                }
                let check = |join| self.check_join(&identifier, join, limits);
                let join = join.map(|join| join.and_then(check));
                let identity = self.identity;
                let subscribe = |rights| {
                    let grant = Grant { rights, identity };
                    Ok(StreamCommand::Subscribe { join, history, grant })
                };
                self.forward(kind, &identifier, subscribe)
            }
            ClientCommand::Unsubscribe { identifier } => {
                let Some(at) = self.position(&identifier) else { return Action::Nothing(kind) };
                let Subscription { identifier, stream, .. } = self.subscriptions.swap_remove(at);
                Action::Forward { stream, identifier, command: StreamCommand::Unsubscribe }
            }
            ClientCommand::Join { identifier, join } => {
                let command = match self.check_join(&identifier, join, limits) {
                    Ok(join) => StreamCommand::Join(join),
                    Err(reason) => StreamCommand::RefusePresence(kind, reason),
                };
                self.forward(kind, &identifier, |_| Ok(command))
            }
            ClientCommand::Leave { identifier } => {
                if let Some(held) = self.held_mut(&identifier) {
                    held.joined = false;
                }
                self.forward(kind, &identifier, |_| Ok(StreamCommand::Leave))
            }
            ClientCommand::Presence { identifier, records } => {
                self.forward(kind, &identifier, |_| Ok(StreamCommand::List { records }))
            }
            ClientCommand::History { identifier, request } => {
                self.forward(kind, &identifier, |_| Ok(StreamCommand::History(request)))
            }
            ClientCommand::Whisper { identifier, data } => {
                self.forward(kind, &identifier, |rights| {
                    let denied = "this subscription may not whisper";
                    if rights.whisper { Ok(StreamCommand::Whisper(data)) } else { Err(denied) }
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

    /// Finds the stream a new subscription leads to and notes it; whether it may. What was confirmed
    /// once stays so.
    fn subscribe(
        &mut self,
        identifier: &str,
        target: Target,
        limits: &Limits,
        streams: &Streams,
    ) -> bool {
        if self.position(identifier).is_some() {
            return true;
        }
        if self.subscriptions.len() >= limits.subscriptions {
            self.exceeded = Some(Limit::Subscriptions);
            return false;
        }
        if identifier.len() > limits.identifier_size {
            self.exceeded = Some(Limit::IdentifierSize);
            return false;
        }
        let Ok((stream, rights)) = streams.resolve(target) else { return false };
        if stream.as_str().len() > limits.stream_name_size {
            self.exceeded = Some(Limit::StreamNameSize);
            return false;
        }
        let identifier = Identifier::from(identifier);
        let subscription = Subscription { identifier, stream, rights, joined: false };
        if self.subscriptions.is_empty() {
            self.subscriptions.reserve_exact(1); // most sessions never have a second one
        }
        self.subscriptions.push(subscription);
        true
    }

    /// Passes a command on to the stream of a subscription the session holds, if the rights there
    /// are enough for it.
    fn forward(
        &self,
        kind: CommandKind,
        identifier: &str,
        command: impl FnOnce(Rights) -> Result<StreamCommand, &'static str>,
    ) -> Action {
        let held = self.position(identifier).and_then(|at| self.subscriptions.get(at));
        match held {
            Some(Subscription { identifier, stream, rights, .. }) => match command(*rights) {
                Ok(command) => {
                    let (stream, identifier) = (stream.clone(), identifier.clone());
                    Action::Forward { stream, identifier, command }
                }
                Err(denied) => error(kind, denied),
            },
            None => refuse(kind, Some(identifier), NO_SUBSCRIPTION.into()),
        }
    }

    fn refuse(&self, bad: BadCommand<'_>) -> Action {
        let BadCommand { kind, identifier, reason } = bad;
        match (kind, identifier) {
            // a bad command about a subscription that stands is refused in the stream's order
            (CommandKind::Join | CommandKind::Leave | CommandKind::Presence, Some(identifier)) => {
                let command = |_| Ok(StreamCommand::RefusePresence(kind, reason));
                self.forward(kind, &identifier, command)
            }
            (kind, identifier) => refuse(kind, identifier.as_deref(), reason),
        }
    }

    fn position(&self, identifier: &str) -> Option<usize> {
        self.subscriptions.iter().position(|held| held.identifier.as_str() == identifier)
    }

    fn held_mut(&mut self, identifier: &str) -> Option<&mut Subscription> {
        let at = self.position(identifier)?;
        self.subscriptions.get_mut(at)
    }

    /// Whether the client may join so: by its rights there, as who it is, within the limits. From
    /// then on it counts as joined.
    fn check_join(
        &mut self,
        identifier: &str,
        join: Join,
        limits: &Limits,
    ) -> Result<Join, Cow<'static, str>> {
        let records = self.subscriptions.iter().filter(|held| held.joined).count();
        let held = self.held_mut(identifier).ok_or(NO_SUBSCRIPTION)?;
        if !held.rights.join {
            return Err("this subscription may not join".into());
        }
        let is_full = !held.joined && records >= limits.records;
        if let Err((limit, reason)) = check_size(&join, limits) {
            self.exceeded = limit;
            return Err(reason);
        }
        match &self.joins {
            JoinsAs::Anyone => {}
            JoinsAs::Only(id) if *id == join.id => {}
            JoinsAs::Only(_) => return Err("the presence id is not the one of the token".into()),
            JoinsAs::Nobody => return Err("there is no token that gives a presence id".into()),
        }
        if is_full {
            self.exceeded = Some(Limit::Records);
            let most = limits.records;
            return Err(format!(
                "this client has joined {records} times, at most {most} are allowed: leave first"
            )
            .into());
        }
        if let Some(held) = self.held_mut(identifier) {
            held.joined = true;
        }
        Ok(join)
    }
}

const NO_SUBSCRIPTION: &str = "there is no such subscription";

/// Refuses a command because the client sends more than it may: at once, not in its stream's turn.
///
/// A subscription is not rejected, as that would be for good: without an answer that they know,
/// stock clients ask again after a while.
pub fn refuse_excess(kind: CommandKind, identifier: Option<&str>) -> Action {
    let reason = "too many commands: send fewer, or wait";
    if kind == CommandKind::Subscribe {
        return error(kind, reason);
    }
    refuse(kind, identifier, reason.into())
}

/// The refusal that fits a command: the one its client waits for, where there is one.
fn refuse(kind: CommandKind, identifier: Option<&str>, reason: Cow<'static, str>) -> Action {
    let Some(identifier) = identifier.map(Identifier::from) else {
        return error(kind, reason);
    };
    let message = match kind {
        CommandKind::Subscribe => ServerMessage::Rejected,
        CommandKind::Join | CommandKind::Leave | CommandKind::Presence => {
            ServerMessage::PresenceError(reason)
        }
        CommandKind::History => ServerMessage::HistoryRejected,
        CommandKind::Unsubscribe
        | CommandKind::Whisper
        | CommandKind::Perform
        | CommandKind::Ping
        | CommandKind::Pong
        | CommandKind::Unknown => return error(kind, reason),
    };
    Action::Refuse { kind, identifier, message }
}

fn error(kind: CommandKind, reason: impl Into<Cow<'static, str>>) -> Action {
    let reason = reason.into();
    Action::Answer { kind, message: ConnectionMessage::Error { command: kind, reason } }
}

/// Whether an id and an info are of a size that may be; if not, what is wrong, and for which limit.
fn check_size(join: &Join, limits: &Limits) -> Result<(), (Option<Limit>, Cow<'static, str>)> {
    let (id, info) = (join.id.as_str(), join.info.as_str());
    if id.is_empty() {
        return Err((None, "the presence id is empty".into()));
    }
    let (length, most) = (id.chars().count(), limits.presence_id_length);
    if length > most {
        let reason = format!("the presence id has {length} characters, at most {most} are allowed");
        return Err((Some(Limit::PresenceIdLength), reason.into()));
    }
    let (size, most) = (info.len(), limits.info_size);
    if size > most {
        let reason = format!("the presence info has {size} bytes, at most {most} are allowed");
        return Err((Some(Limit::PresenceInfoSize), reason.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: SessionId = SessionId::from_bits(7);

    fn session(joins: JoinsAs) -> Session {
        Session::new(SID, &Client { identifier: None, joins })
    }

    fn ask(session: &mut Session, command: ClientCommand<'_>) -> Action {
        session.handle(Ok(command), &Limits::default(), &Streams::default())
    }

    fn subscribe(session: &mut Session, join: Option<&str>) -> Action {
        let join = join.map(|id| Ok(Join { id: id.into(), info: "null".into() }));
        let target = Target::Public("room".into());
        let command =
            ClientCommand::Subscribe { identifier: "i".into(), target, history: None, join };
        ask(session, command)
    }

    fn join(session: &mut Session, id: &str) -> Action {
        let join = Join { id: id.into(), info: "null".into() };
        ask(session, ClientCommand::Join { identifier: "i".into(), join })
    }

    fn refused(action: &Action) -> Option<&str> {
        let Action::Forward { command, .. } = action else { return None };
        if let StreamCommand::RefusePresence(_, reason)
        | StreamCommand::Subscribe { join: Some(Err(reason)), .. } = command
        {
            return Some(reason);
        }
        None
    }

    #[test]
    fn nobody_joins_as_somebody_else() {
        let mut ann = session(JoinsAs::Only("ann".into()));
        assert_eq!(refused(&subscribe(&mut ann, Some("ann"))), None);
        assert_eq!(refused(&join(&mut ann, "ann")), None);
        let other = Some("the presence id is not the one of the token");
        for id in ["bob", "Ann", "ann ", "a\u{308}nn"] {
            assert_eq!(refused(&join(&mut ann, id)), other, "{id}");
            assert_eq!(refused(&subscribe(&mut ann, Some(id))), other, "{id}");
        }
        assert_eq!(refused(&join(&mut ann, "")), Some("the presence id is empty"));
        let mut nobody = session(JoinsAs::Nobody);
        let none = Some("there is no token that gives a presence id");
        assert_eq!(refused(&subscribe(&mut nobody, Some("ann"))), none);
        assert_eq!(refused(&join(&mut nobody, "ann")), none);
    }

    #[test]
    fn rights_are_those_of_the_subscription() {
        let streams = Streams { public: false, ..Streams::default() };
        let mut visitor = session(JoinsAs::Anyone);
        let target = || Target::Public("room".into());
        let command = || ClientCommand::Subscribe {
            identifier: "i".into(),
            target: target(),
            history: None,
            join: None,
        };
        let action = visitor.handle(Ok(command()), &Limits::default(), &streams);
        assert!(matches!(action, Action::Refuse { message: ServerMessage::Rejected, .. }));
        let watch = Rights { join: false, whisper: false };
        visitor.subscriptions.push(Subscription {
            identifier: "i".into(),
            stream: "room".into(),
            rights: watch,
            joined: false,
        });
        assert_eq!(refused(&join(&mut visitor, "ann")), Some("this subscription may not join"));
        let whisper = ClientCommand::Whisper { identifier: "i".into(), data: "1".into() };
        let action = ask(&mut visitor, whisper);
        assert_eq!(action, error(CommandKind::Whisper, "this subscription may not whisper"));
        let list = ClientCommand::Presence { identifier: "i".into(), records: true };
        assert!(matches!(ask(&mut visitor, list), Action::Forward { .. }));
    }
}
