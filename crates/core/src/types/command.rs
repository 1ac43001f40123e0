//! Commands of clients, in terms that all protocols share.

use std::borrow::Cow;
use std::sync::Arc;

use super::{
    CommandKind, Extra, Grant, JointAnswer, PresenceId, RawJson, Reference, StreamName,
    StreamPosition, Watch, Whisper,
};

/// A decoded frame: a command, and the client's reference for it, if any.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The client's reference, returned with the reply.
    pub reference: Option<Arc<Reference>>,
    /// The command, or why there is none.
    pub command: Result<ClientCommand<'a>, BadCommand<'a>>,
}

impl<'a> Request<'a> {
    /// A request without a reference.
    pub const fn unnamed(command: Result<ClientCommand<'a>, BadCommand<'a>>) -> Self {
        Self { reference: None, command }
    }

    /// The identifier of the command's subscription, if it has one.
    pub fn identifier(&self) -> Option<&str> {
        match &self.command {
            Ok(command) => command.identifier(),
            Err(bad) => bad.identifier.as_deref(),
        }
    }

    /// Size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        let reference = self.reference.as_ref().map_or(0, |reference| reference.weight());
        let command = match &self.command {
            Ok(command) => command.weight(),
            Err(bad) => bad.reason.len(),
        };
        reference + self.identifier().map_or(0, str::len) + command
    }

    /// A copy that doesn't borrow from the frame.
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
    /// The client's reference.
    pub reference: Option<Arc<Reference>>,
    /// The kind of command.
    pub kind: CommandKind,
    /// The identifier, if the frame has one.
    pub identifier: Option<Cow<'a, str>>,
}

/// A decoded command, not yet authorized. Borrows from the frame.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientCommand<'a> {
    /// Subscribe to the stream that the identifier resolves to.
    Subscribe {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// The stream that the identifier asks for.
        target: Target,
        /// The history to send along.
        history: Option<HistoryRequest>,
        /// Join as part of subscribing; `Err` is why that part was malformed. Left out if neither
        /// it nor the connection has a presence id.
        join: Option<Result<JoinRequest, Cow<'static, str>>>,
        /// What to send about presence.
        watch: Watch,
        /// Options of the subscription's start.
        options: SubscribeOptions,
    },
    /// Unsubscribe.
    Unsubscribe {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
    },
    /// Join the subscription's stream.
    Join {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// Presence id and info.
        join: JoinRequest,
    },
    /// Change the info of a member that has joined.
    Update {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// Presence id and info.
        join: JoinRequest,
    },
    /// Leave the stream.
    Leave {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// The presence id that leaves; a mismatch is ignored.
        id: Option<PresenceId>,
    },
    /// List the members.
    Presence {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// How much to list.
        listing: Listing,
    },
    /// Send the history since a point.
    History {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// The point.
        request: HistoryRequest,
    },
    /// Send a message to the stream's other subscribers, without keeping it.
    Whisper {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// The message.
        whisper: Whisper,
        /// The author's presence id, if the client names one.
        author: Option<PresenceId>,
    },
    /// Publish a message to the stream.
    Publish {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// The message.
        data: RawJson,
        /// Time of arrival, in milliseconds of the Unix epoch.
        at: u64,
        /// The author's presence id, if the client names one.
        author: Option<PresenceId>,
    },
    /// Perform an action of an application channel.
    Perform {
        /// The client's key for the subscription.
        identifier: Cow<'a, str>,
        /// What to perform, in JSON: a string, if it is well-formed. Only who asks the application decodes it.
        data: Option<Cow<'a, str>>,
    },
    /// A ping by the client.
    Ping,
    /// A pong by the client.
    Pong,
}

impl ClientCommand<'_> {
    /// The identifier of the command's subscription, if it has one.
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
            | Self::Perform { identifier, .. } => Some(identifier),
            Self::Ping | Self::Pong => None,
        }
    }

    /// Size of its texts without the identifier, in bytes.
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
            Self::Perform { data, .. } => data.as_ref().map_or(0, |data| data.len()),
            Self::Unsubscribe { .. } | Self::Presence { .. } | Self::Ping | Self::Pong => 0,
        }
    }

    /// A copy that doesn't borrow from the frame.
    pub fn into_owned(self) -> ClientCommand<'static> {
        type Owned = ClientCommand<'static>;
        match self {
            Self::Subscribe { identifier, target, history, join, watch, options } => {
                let identifier = owned(identifier);
                Owned::Subscribe { identifier, target, history, join, watch, options }
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
            Self::Perform { identifier, data } => {
                Owned::Perform { identifier: owned(identifier), data: data.map(owned) }
            }
            Self::Ping => Owned::Ping,
            Self::Pong => Owned::Pong,
        }
    }

    /// The kind of command.
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

/// The stream that an identifier asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A plain name.
    Public(StreamName),
    /// A signed name.
    Signed(String),
    /// A plain name, with the signature that may be required for it.
    SignedFor {
        /// The plain name.
        name: StreamName,
        /// The signed name.
        signed: String,
    },
    /// A name signed by Turbo.
    Turbo(String),
    /// A name signed by CableReady.
    CableReady(String),
    /// An application channel, which only a backend could resolve.
    Channel(String),
    /// Malformed; the reason.
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

/// A request to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The presence id; without one, the connection's.
    pub id: Option<PresenceId>,
    /// The info for others; `null` if the client gave none.
    pub info: RawJson,
}

impl JoinRequest {
    fn weight(&self) -> usize {
        self.info.as_str().len() + self.id.as_ref().map_or(0, |id| id.as_str().len())
    }
}

/// A join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The presence id.
    pub id: PresenceId,
    /// The info for others; `null` if the client gave none.
    pub info: RawJson,
    /// The application's data. `None` keeps the previous.
    pub extra: Extra,
}

/// How much a list of members contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Their number only.
    Count,
    /// The members.
    Members,
    /// The members with their records.
    Records,
}

/// Options of a subscription's start, besides the confirmation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// List the members before the join.
    pub list_before: Option<Listing>,
    /// List the members after the join; the subscriber's own join event follows.
    pub list_after: Option<Listing>,
    /// Announce a new subscriber to all others, whether it joins or not; repeated subscribes aren't
    /// announced.
    pub is_announced: bool,
    /// A subscription of the same name that this one replaces.
    pub ends: Option<Arc<Reference>>,
    /// Whether a repeated subscribe is confirmed again.
    pub repeat: Repeat,
    /// Whether the confirmation is said elsewhere: by another stream of the same subscription, or by the application.
    pub is_quiet: bool,
}

/// When a repeated subscribe is confirmed again, as clients react differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// Always: the client expects a reply to each subscribe.
    #[default]
    Always,
    /// Only some seconds after the first confirmation: the client repeats its subscribe until it is
    /// confirmed, even while the confirmation is under way.
    Later,
    /// Never: the client gives up on an unexpected confirmation.
    Never,
}

/// A request for history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// All publications since a time, in seconds of the Unix epoch.
    pub since: Option<u64>,
    /// All publications after these positions.
    pub positions: Vec<(StreamName, StreamPosition)>,
    /// The answer of all streams of the subscription, if it has several.
    pub joint: Option<Arc<JointAnswer>>,
}

impl HistoryRequest {
    fn weight(&self) -> usize {
        let each = |(name, _): &(StreamName, StreamPosition)| {
            name.as_str().len() + size_of::<StreamPosition>()
        };
        self.positions.iter().map(each).sum()
    }
}

/// The refusal of a message from a client that hasn't joined.
pub(crate) const NOT_PRESENT: &str = "only who has joined may say something here: join first";

/// An authorized command for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamCommand {
    /// Subscribe. Boxed, as it is much larger than the others, and rarer.
    Subscribe(Box<Subscribe>),
    /// Unsubscribe.
    Unsubscribe,
    /// Join.
    Join(Join),
    /// Change the info, if the client has joined.
    Update(Join),
    /// Leave, if the client has joined under this id.
    Leave(Option<PresenceId>),
    /// List the members.
    List(Listing),
    /// Send history.
    History(HistoryRequest),
    /// Send a message to the other subscribers.
    Whisper {
        /// The message.
        whisper: Whisper,
        /// Whether the author must be a member.
        members_only: bool,
    },
    /// Publish a message.
    Publish {
        /// The message.
        data: RawJson,
        /// Time of arrival, in milliseconds of the Unix epoch.
        at: u64,
        /// Whether the author must be a member.
        members_only: bool,
    },
    /// Refuse a presence command, in its turn.
    RefusePresence(CommandKind, Cow<'static, str>),
}

/// The start of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The join, if asked to; `Err` is why it is refused.
    pub join: Option<Result<Join, Cow<'static, str>>>,
    /// The history to send along.
    pub history: Option<HistoryRequest>,
    /// The subscriber's rights and identity.
    pub grant: Grant,
    /// Options.
    pub options: SubscribeOptions,
}

impl From<Subscribe> for StreamCommand {
    fn from(subscribe: Subscribe) -> Self {
        Self::Subscribe(Box::new(subscribe))
    }
}

impl StreamCommand {
    /// Bytes of its payload, if it carries one to others; without a join's, which is small.
    pub fn payload(&self) -> usize {
        match self {
            Self::Whisper { whisper, .. } => whisper.data.as_str().len(),
            Self::Publish { data, .. } => data.as_str().len(),
            Self::Subscribe(_)
            | Self::Unsubscribe
            | Self::Join(_)
            | Self::Update(_)
            | Self::Leave(_)
            | Self::List(_)
            | Self::History(_)
            | Self::RefusePresence(..) => 0,
        }
    }

    /// Lets so many streams that get the command answer its request for history together, if it has one.
    pub(crate) fn answer_jointly(&mut self, streams: usize) {
        let request = match self {
            Self::History(request) => Some(request),
            Self::Subscribe(subscribe) => subscribe.history.as_mut(),
            Self::Unsubscribe
            | Self::Join(_)
            | Self::Update(_)
            | Self::Leave(_)
            | Self::List(_)
            | Self::Whisper { .. }
            | Self::Publish { .. }
            | Self::RefusePresence(..) => None,
        };
        if let Some(request) = request {
            request.joint = Some(JointAnswer::of(streams));
        }
    }

    /// The join that the command carries, if it has one.
    pub fn join(&self) -> Option<&Join> {
        match self {
            Self::Join(join) | Self::Update(join) => Some(join),
            Self::Subscribe(subscribe) => subscribe.join.as_ref()?.as_ref().ok(),
            Self::Unsubscribe
            | Self::Leave(_)
            | Self::List(_)
            | Self::History(_)
            | Self::Whisper { .. }
            | Self::Publish { .. }
            | Self::RefusePresence(..) => None,
        }
    }

    /// The same, for adding the application's data.
    pub fn join_mut(&mut self) -> Option<&mut Join> {
        match self {
            Self::Join(join) | Self::Update(join) => Some(join),
            Self::Subscribe(subscribe) => subscribe.join.as_mut()?.as_mut().ok(),
            Self::Unsubscribe
            | Self::Leave(_)
            | Self::List(_)
            | Self::History(_)
            | Self::Whisper { .. }
            | Self::Publish { .. }
            | Self::RefusePresence(..) => None,
        }
    }

    /// Whether the reply may be large.
    pub fn has_large_reply(&self) -> bool {
        match self {
            Self::List(listing) => *listing != Listing::Count,
            Self::Subscribe(subscribe) => {
                let Subscribe { history, options, .. } = &**subscribe;
                history.is_some() || options.list_before.or(options.list_after).is_some()
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

    /// Whether it changes nothing and its reply may be large.
    pub const fn is_question(&self) -> bool {
        match self {
            Self::List(_) | Self::History(_) => true,
            Self::Subscribe(_)
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

/// A malformed frame.
#[derive(Debug, PartialEq, Eq)]
pub struct BadCommand<'a> {
    /// The kind of command, as far as it could be decoded.
    pub kind: CommandKind,
    /// The identifier, if the frame has one.
    pub identifier: Option<Cow<'a, str>>,
    /// The error, for the client's developer.
    pub reason: Cow<'static, str>,
}
