//! What clients ask for, whatever protocol they say it in.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Extra, Grant, Position, PresenceId, RawJson, Reference, StreamName, Watch, Whisper};

/// What a client sent: a command, and the client's name for it if it has one.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// By which the client knows the answer.
    pub reference: Option<Arc<Reference>>,
    /// What it asks for.
    pub command: Result<ClientCommand<'a>, BadCommand<'a>>,
}

impl<'a> Request<'a> {
    /// A request without a name.
    pub const fn unnamed(command: Result<ClientCommand<'a>, BadCommand<'a>>) -> Self {
        Self { reference: None, command }
    }

    /// The client's key for the subscription it is about, if it is about one.
    pub fn identifier(&self) -> Option<&str> {
        match &self.command {
            Ok(command) => command.identifier(),
            Err(bad) => bad.identifier.as_deref(),
        }
    }

    /// What it weighs, in bytes of its texts.
    pub fn weight(&self) -> usize {
        let reference = self.reference.as_ref().map_or(0, |reference| reference.weight());
        let command = match &self.command {
            Ok(command) => command.weight(),
            Err(bad) => bad.reason.len(),
        };
        reference + self.identifier().map_or(0, str::len) + command
    }

    /// The same request, apart from the frame it came in.
    pub fn into_owned(self) -> Request<'static> {
        let command = match self.command {
            Ok(command) => Ok(command.into_owned()),
            Err(BadCommand { kind, identifier, reason }) => {
                Err(BadCommand { kind, identifier: identifier.map(owned), reason })
            }
        };
        Request { reference: self.reference, command }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// As much of a request as it takes to refuse it.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// By which the client knows the answer.
    pub reference: Option<Arc<Reference>>,
    /// Which command it is.
    pub kind: CommandKind,
    /// The subscription it is about, if it names one.
    pub identifier: Option<Cow<'a, str>>,
}

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
        /// Join as part of subscribing; `Err` says why that part was unreadable. Without an id,
        /// neither its own nor the connection's, it is left out.
        join: Option<Result<JoinRequest, Cow<'static, str>>>,
        /// What it wants to know of presence.
        watch: Watch,
        /// What it is told on its arrival.
        arrival: Arrival,
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
        join: JoinRequest,
    },
    /// Be present differently, as who has joined already.
    Update {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// Under which id and with which info.
        join: JoinRequest,
    },
    /// Stop being present through this subscription.
    Leave {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// Who leaves, if the client says it; nobody else does.
        id: Option<PresenceId>,
    },
    /// Ask who is present.
    Presence {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// How much of it.
        listing: Listing,
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
        whisper: Whisper,
        /// Who says it, if the client tells.
        author: Option<PresenceId>,
    },
    /// Publish a message to the stream.
    Publish {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// The message.
        data: RawJson,
        /// When it came, in milliseconds of the Unix epoch.
        at: u64,
        /// Who says it, if the client tells.
        author: Option<PresenceId>,
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
    /// The client's key for the subscription it is about, if it is about one.
    pub fn identifier(&self) -> Option<&str> {
        match self {
            Self::Subscribe { identifier, .. }
            | Self::Unsubscribe { identifier }
            | Self::Join { identifier, .. }
            | Self::Update { identifier, .. }
            | Self::Leave { identifier, .. }
            | Self::Presence { identifier, .. }
            | Self::History { identifier, .. }
            | Self::Whisper { identifier, .. }
            | Self::Publish { identifier, .. }
            | Self::Perform { identifier } => Some(identifier),
            Self::Ping | Self::Pong => None,
        }
    }

    /// What its texts weigh, in bytes, without the identifier.
    fn weight(&self) -> usize {
        let id = |id: &Option<PresenceId>| id.as_ref().map_or(0, |id| id.as_str().len());
        match self {
            Self::Subscribe { target, history, join, .. } => {
                let join = join.iter().flatten().map(JoinRequest::weight).sum::<usize>();
                target.weight() + history.iter().map(HistoryRequest::weight).sum::<usize>() + join
            }
            Self::Join { join, .. } | Self::Update { join, .. } => join.weight(),
            Self::Leave { id: who, .. } => id(who),
            Self::History { request, .. } => request.weight(),
            Self::Whisper { whisper, author, .. } => {
                let event = whisper.event.as_ref().map_or(0, |event| event.len());
                event + whisper.data.as_str().len() + id(author)
            }
            Self::Publish { data, author, .. } => data.as_str().len() + id(author),
            Self::Unsubscribe { .. }
            | Self::Presence { .. }
            | Self::Perform { .. }
            | Self::Ping
            | Self::Pong => 0,
        }
    }

    /// The same command, apart from the frame it came in.
    pub fn into_owned(self) -> ClientCommand<'static> {
        type Owned = ClientCommand<'static>;
        match self {
            Self::Subscribe { identifier, target, history, join, watch, arrival } => {
                let identifier = owned(identifier);
                Owned::Subscribe { identifier, target, history, join, watch, arrival }
            }
            Self::Unsubscribe { identifier } => {
                Owned::Unsubscribe { identifier: owned(identifier) }
            }
            Self::Join { identifier, join } => Owned::Join { identifier: owned(identifier), join },
            Self::Update { identifier, join } => {
                Owned::Update { identifier: owned(identifier), join }
            }
            Self::Leave { identifier, id } => Owned::Leave { identifier: owned(identifier), id },
            Self::Presence { identifier, listing } => {
                Owned::Presence { identifier: owned(identifier), listing }
            }
            Self::History { identifier, request } => {
                Owned::History { identifier: owned(identifier), request }
            }
            Self::Whisper { identifier, whisper, author } => {
                Owned::Whisper { identifier: owned(identifier), whisper, author }
            }
            Self::Publish { identifier, data, at, author } => {
                Owned::Publish { identifier: owned(identifier), data, at, author }
            }
            Self::Perform { identifier } => Owned::Perform { identifier: owned(identifier) },
            Self::Ping => Owned::Ping,
            Self::Pong => Owned::Pong,
        }
    }

    /// Which of the commands it is.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Subscribe { .. } => CommandKind::Subscribe,
            Self::Unsubscribe { .. } => CommandKind::Unsubscribe,
            Self::Join { .. } | Self::Update { .. } => CommandKind::Join,
            Self::Leave { .. } => CommandKind::Leave,
            Self::Presence { .. } => CommandKind::Presence,
            Self::History { .. } => CommandKind::History,
            Self::Whisper { .. } => CommandKind::Whisper,
            Self::Publish { .. } => CommandKind::Publish,
            Self::Perform { .. } => CommandKind::Perform,
            Self::Ping => CommandKind::Ping,
            Self::Pong => CommandKind::Pong,
        }
    }
}

/// The commands by name.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::AsRefStr,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum CommandKind {
    /// See [`ClientCommand::Subscribe`].
    Subscribe,
    /// See [`ClientCommand::Unsubscribe`].
    Unsubscribe,
    /// See [`ClientCommand::Join`] and [`ClientCommand::Update`].
    Join,
    /// See [`ClientCommand::Leave`].
    Leave,
    /// See [`ClientCommand::Presence`].
    Presence,
    /// See [`ClientCommand::History`].
    History,
    /// See [`ClientCommand::Whisper`].
    Whisper,
    /// See [`ClientCommand::Publish`].
    Publish,
    /// See [`ClientCommand::Perform`].
    #[strum(serialize = "message")]
    Perform,
    /// See [`ClientCommand::Ping`].
    Ping,
    /// See [`ClientCommand::Pong`].
    Pong,
    /// Anything that isn't a command.
    Unknown,
}

/// What an identifier asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A stream by its plain name.
    Public(StreamName),
    /// A stream by a name the application signed.
    Signed(String),
    /// A stream by its plain name, which the application has to have signed too.
    SignedFor {
        /// The plain name.
        name: StreamName,
        /// The signed one.
        signed: String,
    },
    /// A stream by a name that Turbo signed.
    Turbo(String),
    /// A stream by a name that CableReady signed.
    CableReady(String),
    /// A channel of the application's, which only its backend can resolve.
    Channel(String),
    /// Nothing that could be understood; why.
    Invalid(String),
}

impl Target {
    fn weight(&self) -> usize {
        match self {
            Self::Public(name) => name.as_str().len(),
            Self::SignedFor { name, signed } => name.as_str().len() + signed.len(),
            Self::Signed(text)
            | Self::Turbo(text)
            | Self::CableReady(text)
            | Self::Channel(text)
            | Self::Invalid(text) => text.len(),
        }
    }
}

/// A client's wish to become present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// As whom; without it, as who the connection is.
    pub id: Option<PresenceId>,
    /// What others see of them; `null` when the client gave none.
    pub info: RawJson,
}

impl JoinRequest {
    fn weight(&self) -> usize {
        self.info.as_str().len() + self.id.as_ref().map_or(0, |id| id.as_str().len())
    }
}

/// Becoming present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who.
    pub id: PresenceId,
    /// What others see of them; `null` when the client gave none.
    pub info: RawJson,
    /// What the application says of them. Without it that of before stays.
    pub extra: Extra,
}

/// How much to tell of who is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// How many.
    Count,
    /// Who.
    Members,
    /// Who, with each record.
    Records,
}

/// What a subscriber is told on its arrival, besides the confirmation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Who is present before it joins.
    pub list_before: Option<Listing>,
    /// Who is present once it has joined; its own join is told after that.
    pub list_after: Option<Listing>,
    /// Everyone is told that somebody has come, whether they join or not; not if they are there
    /// already.
    pub is_announced: bool,
    /// The subscription of the same name that this one ends.
    pub ends: Option<Arc<Reference>>,
    /// Whether it is confirmed though it was confirmed before.
    pub repeat: Repeat,
}

/// When a subscription that was confirmed is confirmed again, by what its client makes of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// Always: each subscribe has an answer of its own.
    #[default]
    Always,
    /// Some seconds later: the client repeats a subscribe until it is confirmed, be it only that the
    /// confirmation is on its way.
    Later,
    /// Never: the client gives up what it didn't expect to be confirmed.
    Never,
}

/// What a client asks of a stream's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Everything since this time, in seconds of the Unix epoch.
    pub since: Option<u64>,
    /// Everything after these positions.
    pub positions: Vec<(StreamName, Position)>,
}

impl HistoryRequest {
    fn weight(&self) -> usize {
        let each = |(name, _): &(StreamName, Position)| name.as_str().len() + size_of::<Position>();
        self.positions.iter().map(each).sum()
    }
}

/// Why a client may say nothing under a name.
pub const NOT_PRESENT: &str = "only who has joined may say something here: join first";

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
        /// What it is told on its arrival.
        arrival: Arrival,
    },
    /// Stop following.
    Unsubscribe,
    /// Become present.
    Join(Join),
    /// Be present differently, if it has joined already.
    Update(Join),
    /// Stop being present, if it is under this id that one was.
    Leave(Option<PresenceId>),
    /// Tell who is present.
    List(Listing),
    /// Tell what was missed.
    History(HistoryRequest),
    /// Tell the other subscribers.
    Whisper {
        /// What.
        whisper: Whisper,
        /// Only somebody who is present may.
        members_only: bool,
    },
    /// Publish a message.
    Publish {
        /// The message.
        data: RawJson,
        /// When it came, in milliseconds of the Unix epoch.
        at: u64,
        /// Only somebody who is present may.
        members_only: bool,
    },
    /// Refuse a presence command, in its turn.
    RefusePresence(CommandKind, Cow<'static, str>),
}

impl StreamCommand {
    /// Who becomes present by it, if somebody may.
    pub const fn join(&self) -> Option<&Join> {
        match self {
            Self::Join(join)
            | Self::Update(join)
            | Self::Subscribe { join: Some(Ok(join)), .. } => Some(join),
            Self::Subscribe { .. }
            | Self::Unsubscribe
            | Self::Leave(_)
            | Self::List(_)
            | Self::History(_)
            | Self::Whisper { .. }
            | Self::Publish { .. }
            | Self::RefusePresence(..) => None,
        }
    }

    /// Likewise, to say more of them.
    pub fn join_mut(&mut self) -> Option<&mut Join> {
        match self {
            Self::Join(join)
            | Self::Update(join)
            | Self::Subscribe { join: Some(Ok(join)), .. } => Some(join),
            Self::Subscribe { .. }
            | Self::Unsubscribe
            | Self::Leave(_)
            | Self::List(_)
            | Self::History(_)
            | Self::Whisper { .. }
            | Self::Publish { .. }
            | Self::RefusePresence(..) => None,
        }
    }

    /// Whether its answer can be large.
    pub fn asks_for_much(&self) -> bool {
        match self {
            Self::List(listing) => *listing != Listing::Count,
            Self::Subscribe { history, arrival, .. } => {
                history.is_some() || arrival.list_before.or(arrival.list_after).is_some()
            }
            Self::History(_) => true,
            Self::Unsubscribe
            | Self::Join(_)
            | Self::Update(_)
            | Self::Leave(_)
            | Self::Whisper { .. }
            | Self::Publish { .. }
            | Self::RefusePresence(..) => false,
        }
    }

    /// Whether it changes nothing and asks for an answer that can be large.
    pub const fn is_question(&self) -> bool {
        match self {
            Self::List(_) | Self::History(_) => true,
            Self::Subscribe { .. }
            | Self::Unsubscribe
            | Self::Join(_)
            | Self::Update(_)
            | Self::Leave(_)
            | Self::Whisper { .. }
            | Self::Publish { .. }
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
