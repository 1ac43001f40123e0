//! One connection's session: what it follows, and what it may do. Pure.
//!
//! A client's command comes in, an [`Action`] comes out: something for a stream's shard, or an
//! answer that needs no stream. What a client is told about a subscription it holds always comes
//! from the stream's shard, so that it stands in the stream's order.

use std::borrow::Cow;

use crate::types::{
    BadCommand, ClientCommand, CommandKind, ConnectionMessage, Identifier, Join, Limits,
    ServerMessage, SessionId, StreamCommand, StreamName, Target,
};

/// A session's state, as small as its subscriptions.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    subscriptions: Vec<Subscription>,
}

/// A name a client gave to its following of a stream.
#[derive(Debug)]
pub struct Subscription {
    /// The client's name for it.
    pub identifier: Identifier,
    /// What it follows.
    pub stream: StreamName,
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
    /// A session without subscriptions.
    pub fn new(id: SessionId) -> Self {
        Self { id, subscriptions: Vec::new() }
    }

    /// What the client knows it by.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Ends the session: all it followed.
    pub fn end(&mut self) -> Vec<Subscription> {
        std::mem::take(&mut self.subscriptions)
    }

    /// Decides about a client's command.
    pub fn handle(
        &mut self,
        command: Result<ClientCommand<'_>, BadCommand<'_>>,
        limits: &Limits,
    ) -> Action {
        let command = match command {
            Ok(command) => command,
            Err(bad) => return self.refuse(bad),
        };
        let kind = command.kind();
        match command {
            ClientCommand::Subscribe { identifier, target, history, join } => {
                let Some((identifier, stream)) = self.subscribe(&identifier, target, limits) else {
                    let identifier = Identifier::from(&*identifier);
                    return Action::Refuse { kind, identifier, message: ServerMessage::Rejected };
                };
                let join = join.map(|join| join.and_then(|join| check_join(join, limits)));
                Action::Forward {
                    stream,
                    identifier,
                    command: StreamCommand::Subscribe { join, history },
                }
            }
            ClientCommand::Unsubscribe { identifier } => {
                let found =
                    self.subscriptions.iter().position(|s| s.identifier.as_str() == identifier);
                let Some(at) = found else { return Action::Nothing(kind) };
                let Subscription { identifier, stream } = self.subscriptions.swap_remove(at);
                Action::Forward { stream, identifier, command: StreamCommand::Unsubscribe }
            }
            ClientCommand::Join { identifier, join } => {
                let command = match check_join(join, limits) {
                    Ok(join) => StreamCommand::Join(join),
                    Err(reason) => StreamCommand::RefusePresence(kind, reason),
                };
                self.forward(kind, &identifier, command)
            }
            ClientCommand::Leave { identifier } => {
                self.forward(kind, &identifier, StreamCommand::Leave)
            }
            ClientCommand::Presence { identifier, records } => {
                self.forward(kind, &identifier, StreamCommand::List { records })
            }
            ClientCommand::History { identifier, request } => {
                self.forward(kind, &identifier, StreamCommand::History(request))
            }
            ClientCommand::Whisper { identifier, data } => {
                self.forward(kind, &identifier, StreamCommand::Whisper(data))
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

    /// Finds the stream a new subscription leads to and notes it; `None` if it may not.
    fn subscribe(
        &mut self,
        identifier: &str,
        target: Target,
        limits: &Limits,
    ) -> Option<(Identifier, StreamName)> {
        if let Some(held) = self.find(identifier) {
            return Some((held.identifier.clone(), held.stream.clone()));
        }
        if self.subscriptions.len() >= limits.subscriptions
            || identifier.len() > limits.identifier_size
        {
            return None;
        }
        let stream = match target {
            Target::Public(stream) if stream.as_str().len() <= limits.stream_name_size => stream,
            // signatures need a key and channels a backend, and there is neither
            Target::Public(_) | Target::Signed(_) | Target::Channel(_) | Target::Invalid(_) => {
                return None;
            }
        };
        let identifier = Identifier::from(identifier);
        let subscription = Subscription { identifier: identifier.clone(), stream: stream.clone() };
        if self.subscriptions.is_empty() {
            self.subscriptions.reserve_exact(1); // most sessions never have a second one
        }
        self.subscriptions.push(subscription);
        Some((identifier, stream))
    }

    /// Passes a command on to the stream of a subscription the session holds.
    fn forward(&self, kind: CommandKind, identifier: &str, command: StreamCommand) -> Action {
        match self.find(identifier) {
            Some(Subscription { identifier, stream }) => {
                Action::Forward { stream: stream.clone(), identifier: identifier.clone(), command }
            }
            None => refuse(kind, Some(identifier), "there is no such subscription".into()),
        }
    }

    fn refuse(&self, bad: BadCommand<'_>) -> Action {
        let BadCommand { kind, identifier, reason } = bad;
        match (kind, identifier) {
            // a bad command about a subscription that stands is refused in the stream's order
            (CommandKind::Join | CommandKind::Leave | CommandKind::Presence, Some(identifier)) => {
                self.forward(kind, &identifier, StreamCommand::RefusePresence(kind, reason))
            }
            (kind, identifier) => refuse(kind, identifier.as_deref(), reason),
        }
    }

    fn find(&self, identifier: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|held| held.identifier.as_str() == identifier)
    }
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

fn check_join(join: Join, limits: &Limits) -> Result<Join, Cow<'static, str>> {
    let (id, info) = (join.id.as_str(), join.info.as_str());
    if id.is_empty() {
        return Err("the presence id is empty".into());
    }
    let length = id.chars().count();
    if length > limits.presence_id_length {
        let most = limits.presence_id_length;
        return Err(
            format!("the presence id has {length} characters, at most {most} are allowed").into()
        );
    }
    if info.len() > limits.info_size {
        let (size, most) = (info.len(), limits.info_size);
        return Err(
            format!("the presence info has {size} bytes, at most {most} are allowed").into()
        );
    }
    Ok(join)
}
