//! Calls: what the application is asked about a connection and its channels, and what it answers.
//! Plain data; how they are sent is the process's business.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

use super::{Identifier, RawJson, SessionId};

/// A question to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The session it is about.
    pub session: SessionId,
    /// The first id of that session, which was resumed since under others.
    pub first: SessionId,
    /// Number among the session's calls.
    pub number: u32,
    /// How the client connected.
    pub origin: Arc<Origin>,
    /// What the application calls the connection.
    pub identifiers: Arc<str>,
    /// The connection's state.
    pub connection: State,
    /// What is asked.
    pub about: About,
}

impl Call {
    /// Whether it is about a new subscription.
    pub fn is_subscribe(&self) -> bool {
        matches!(self.about, About::Command { kind: ChannelCommand::Subscribe, .. })
    }
}

/// What a [`Call`] asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// May this client connect, and under which name?
    Connect,
    /// What does a client's command do?
    Command {
        /// Kind of the command.
        kind: ChannelCommand,
        /// The subscription.
        identifier: Identifier,
        /// What is performed; empty else.
        data: Box<str>,
        /// State of the channel.
        channel: State,
    },
    /// The session is over. Its subscriptions, each with the state of its channel.
    Disconnect(Vec<(Identifier, State)>),
}

/// A client's command to a channel of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelCommand {
    /// Subscribe.
    Subscribe,
    /// Unsubscribe.
    Unsubscribe,
    /// Perform an action.
    Message,
}

/// How a client connected, as far as the application wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The URL, with path and query.
    pub url: Box<str>,
    /// Headers of the handshake, spelled as configured, and the client's address as `REMOTE_ADDR`.
    pub headers: ThinVec<(Box<str>, Box<str>)>,
}

/// State that the application keeps with a connection or a channel. Keys are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State(ThinVec<(Box<str>, StateValue)>);

/// A value of a [`State`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateValue {
    /// Text, as the contract has it.
    Text(Box<str>),
    /// JSON other than a string, which some applications use over HTTP. It is returned as it came.
    Json(RawJson),
}

impl State {
    /// Its entries, sorted by key.
    pub fn entries(&self) -> &[(Box<str>, StateValue)] {
        &self.0
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.0.get(self.place(key).ok()?)?.1 {
            StateValue::Text(text) => Some(text),
            StateValue::Json(_) => None,
        }
    }

    /// Takes the entries of an answer, key by key. An empty text removes the key.
    pub fn merge(&mut self, changes: impl IntoIterator<Item = (Box<str>, StateValue)>) {
        let changes = changes.into_iter();
        self.0.reserve_exact(changes.size_hint().0); // most states have one or two entries for life
        for (key, value) in changes {
            let is_empty = matches!(&value, StateValue::Text(text) if text.is_empty());
            match self.place(&key) {
                Ok(at) if is_empty => drop(self.0.remove(at)),
                Ok(at) => {
                    if let Some(entry) = self.0.get_mut(at) {
                        entry.1 = value;
                    }
                }
                Err(_) if is_empty => {}
                Err(at) => self.0.insert(at, (key, value)),
            }
        }
        if self.0.is_empty() {
            self.0 = ThinVec::new();
        }
    }

    /// Size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        let value = |value: &StateValue| match value {
            StateValue::Text(text) => text.len(),
            StateValue::Json(json) => json.as_str().len(),
        };
        self.0.iter().map(|(key, it)| key.len() + value(it)).sum()
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| (**held).cmp(key))
    }
}

/// What the application answers to a [`Call`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether it is fine.
    pub status: ReplyStatus,
    /// What the application calls the connection; to [`About::Connect`].
    pub identifiers: String,
    /// Messages for the client, in order.
    pub transmissions: Vec<String>,
    /// What went wrong, for the log.
    pub error: String,
    /// Changes of the connection's state.
    pub connection: Vec<(Box<str>, StateValue)>,
    /// Changes of the channel's state.
    pub channel: Vec<(Box<str>, StateValue)>,
    /// Whether the connection is to be closed.
    pub disconnect: bool,
    /// Whether the subscription follows none of its streams any more, before [`Reply::streams`].
    pub stop_streams: bool,
    /// Streams that the subscription no longer follows.
    pub stopped_streams: Vec<String>,
    /// Streams that the subscription follows from now on.
    pub streams: Vec<String>,
    /// A member that joins or leaves by the subscription.
    pub presence: Option<PresenceReply>,
}

/// How the application judges a [`Call`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReplyStatus {
    /// It failed to answer.
    #[default]
    Error,
    /// Accepted.
    Success,
    /// Refused.
    Failure,
}

/// What the application's answer says about presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceReply {
    /// A member joins.
    Join {
        /// Its presence id.
        id: String,
        /// Its info; JSON.
        info: RawJson,
        /// How long it stays after its subscription's end, in seconds; 0 is the default.
        ttl: u32,
    },
    /// A member leaves.
    Leave {
        /// Its presence id.
        id: String,
    },
}

/// Why a [`Call`] has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallFailure {
    /// The application couldn't be reached, or took no more calls: it has not run this one.
    Unreachable,
    /// So many calls wait that this one was never sent.
    Overloaded,
    /// No answer came in time. The application may have run the call.
    Late,
    /// The answer was none: cut off, too large, or not of the contract. The application may have run the call.
    Broken,
}

impl CallFailure {
    /// Whether the application surely hasn't run the call.
    pub const fn has_not_run(self) -> bool {
        matches!(self, Self::Unreachable | Self::Overloaded)
    }

    /// The reason, for the client.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "the application can't be reached",
            Self::Overloaded => "the application has too much to do",
            Self::Late => "the application doesn't answer in time",
            Self::Broken => "the application's answer can't be read",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &str, value: &str) -> (Box<str>, StateValue) {
        (key.into(), StateValue::Text(value.into()))
    }

    #[test]
    fn an_answer_changes_what_it_names() {
        let mut state = State::default();
        state.merge([text("b", "2"), text("a", "1"), text("c", "")]);
        assert_eq!(state.entries(), [text("a", "1"), text("b", "2")]);
        state.merge([text("a", ""), text("b", "3"), text("$p", "room")]);
        assert_eq!(state.entries(), [text("$p", "room"), text("b", "3")]);
        assert_eq!((state.text("b"), state.text("a")), (Some("3"), None));
        let json = ("a".into(), StateValue::Json("{\"n\":1}".into()));
        state.merge([json.clone()]);
        assert_eq!((state.text("a"), state.entries().get(1)), (None, Some(&json)));
        assert_eq!(state.weight(), 6 + 8 + 2);
        state.merge([text("a", ""), text("b", ""), text("$p", "")]);
        assert_eq!(state, State::default());
    }
}
