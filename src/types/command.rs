//! What clients ask for, whatever protocol they say it in.

use std::borrow::Cow;

use super::{Grant, Position, PresenceId, RawJson, StreamName};

/// A client's wish, decoded but not yet allowed. Borrows from the frame it came in.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientCommand<'a> {
    /// Follow the stream the identifier leads to.
    Subscribe {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// What the identifier asks for.
        target: Target,
        /// What the client missed.
        history: Option<HistoryRequest>,
        /// Join as part of subscribing; `Err` says why that part was unreadable.
        join: Option<Result<Join, Cow<'static, str>>>,
    },
    /// Stop following.
    Unsubscribe {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
    },
    /// Become present in the subscription's stream.
    Join {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// Under which id and with which info.
        join: Join,
    },
    /// Stop being present through this subscription.
    Leave {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
    },
    /// Ask who is present.
    Presence {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// The members too, or their number alone.
        records: bool,
    },
    /// Ask for what was missed.
    History {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// Since when.
        request: HistoryRequest,
    },
    /// Say something to the stream's other subscribers; it isn't kept.
    Whisper {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// What to say.
        data: RawJson,
    },
    /// An action for the application's backend.
    Perform {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
    },
    /// Is anyone there?
    Ping,
    /// I am here.
    Pong,
}

impl ClientCommand<'_> {
    /// Which of the commands it is.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Subscribe { .. } => CommandKind::Subscribe,
            Self::Unsubscribe { .. } => CommandKind::Unsubscribe,
            Self::Join { .. } => CommandKind::Join,
            Self::Leave { .. } => CommandKind::Leave,
            Self::Presence { .. } => CommandKind::Presence,
            Self::History { .. } => CommandKind::History,
            Self::Whisper { .. } => CommandKind::Whisper,
            Self::Perform { .. } => CommandKind::Perform,
            Self::Ping => CommandKind::Ping,
            Self::Pong => CommandKind::Pong,
        }
    }
}

/// The commands by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// See [`ClientCommand::Subscribe`].
    Subscribe,
    /// See [`ClientCommand::Unsubscribe`].
    Unsubscribe,
    /// See [`ClientCommand::Join`].
    Join,
    /// See [`ClientCommand::Leave`].
    Leave,
    /// See [`ClientCommand::Presence`].
    Presence,
    /// See [`ClientCommand::History`].
    History,
    /// See [`ClientCommand::Whisper`].
    Whisper,
    /// See [`ClientCommand::Perform`].
    Perform,
    /// See [`ClientCommand::Ping`].
    Ping,
    /// See [`ClientCommand::Pong`].
    Pong,
    /// Anything that isn't a command.
    Unknown,
}

impl CommandKind {
    /// Every kind, for metrics that must exist before they count.
    pub const ALL: [Self; 11] = [
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Join,
        Self::Leave,
        Self::Presence,
        Self::History,
        Self::Whisper,
        Self::Perform,
        Self::Ping,
        Self::Pong,
        Self::Unknown,
    ];

    /// The name in metrics and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Presence => "presence",
            Self::History => "history",
            Self::Whisper => "whisper",
            Self::Perform => "message",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Unknown => "unknown",
        }
    }
}

/// What an identifier asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A stream by its plain name.
    Public(StreamName),
    /// A stream by a name the application signed.
    Signed(String),
    /// A stream by a name that Turbo signed.
    Turbo(String),
    /// A stream by a name that CableReady signed.
    CableReady(String),
    /// A channel of the application's, which only its backend can resolve.
    Channel(String),
    /// Nothing that could be understood; why.
    Invalid(String),
}

/// Becoming present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who.
    pub id: PresenceId,
    /// What others see of them; `null` when the client gave none.
    pub info: RawJson,
}

/// What a client asks of a stream's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Everything since this time, in seconds of the Unix epoch.
    pub since: Option<u64>,
    /// Everything after these positions.
    pub positions: Vec<(StreamName, Position)>,
}

/// What a session, having checked the client's right to it, asks of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamCommand {
    /// Follow the stream, and perhaps join it in the same breath.
    Subscribe {
        /// Become present too; `Err` says why the client may not.
        join: Option<Result<Join, Cow<'static, str>>>,
        /// Tell first what was missed.
        history: Option<HistoryRequest>,
        /// What the subscriber may do, and who it is.
        grant: Grant,
    },
    /// Stop following.
    Unsubscribe,
    /// Become present.
    Join(Join),
    /// Stop being present.
    Leave,
    /// Tell who is present: the members too, or their number alone.
    List {
        /// The members too.
        records: bool,
    },
    /// Tell what was missed.
    History(HistoryRequest),
    /// Tell the other subscribers.
    Whisper(RawJson),
    /// Refuse a presence command, in its turn.
    RefusePresence(CommandKind, Cow<'static, str>),
}

impl StreamCommand {
    /// Whether its answer can be large.
    pub const fn asks_for_much(&self) -> bool {
        match self {
            Self::List { records } => *records,
            Self::Subscribe { history, .. } => history.is_some(),
            Self::History(_) => true,
            Self::Unsubscribe
            | Self::Join(_)
            | Self::Leave
            | Self::Whisper(_)
            | Self::RefusePresence(..) => false,
        }
    }

    /// Whether it changes nothing and asks for an answer that can be large.
    pub const fn is_question(&self) -> bool {
        match self {
            Self::List { .. } | Self::History(_) => true,
            Self::Subscribe { .. }
            | Self::Unsubscribe
            | Self::Join(_)
            | Self::Leave
            | Self::Whisper(_)
            | Self::RefusePresence(..) => false,
        }
    }
}

/// A frame that holds no command that could be followed.
#[derive(Debug, PartialEq, Eq)]
pub struct BadCommand<'a> {
    /// The command it was, as far as it could be told.
    pub kind: CommandKind,
    /// The subscription it was about, if it named one.
    pub identifier: Option<Cow<'a, str>>,
    /// What is wrong with it, for the client's developer.
    pub reason: Cow<'static, str>,
}
