//! Messages to clients, in terms that all protocols share.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    CachedList, CloseReason, CommandKind, Extra, Identifier, LeaveCause, PresenceId, RawJson,
    SessionId, StreamName, StreamPosition,
};

/// A message to a subscriber. Cheap to clone: payloads are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// The subscription is confirmed.
    Confirmed,
    /// The subscription is rejected; the reason.
    Rejected(Cow<'static, str>),
    /// The subscription has ended.
    Ended,
    /// Success of a command with a reference, if there is no other reply.
    Done,
    /// There is no such subscription.
    NotSubscribed,
    /// A publication.
    Publication(Arc<Publication>),
    /// A message from another subscriber.
    Whisper(Whisper),
    /// Somebody has subscribed.
    Arrived,
    /// A presence event.
    Presence(Arc<PresenceChange>),
    /// A change of a member while the subscriber was away.
    Missed {
        /// The member.
        id: PresenceId,
        /// The change.
        change: MemberChange,
        /// The application's data.
        extra: Extra,
    },
    /// A list of members, on request.
    PresenceList(Arc<CachedList<MemberList>>),
    /// The number of members, on request.
    PresenceCount(usize),
    /// A list of members with their records, on request.
    PresenceRecords(Arc<RecordList>),
    /// The number of members, for subscribers that only count.
    Occupancy(usize),
    /// A command was refused; the reason.
    Refused(Cow<'static, str>),
    /// The requested history has been sent.
    HistoryConfirmed,
    /// The requested history is not available.
    HistoryRejected,
}

impl ServerMessage {
    /// Whether it may be delayed: an expired member.
    pub(crate) fn can_wait(&self) -> bool {
        let Self::Presence(change) = self else { return false };
        matches!(change.record, RecordChange::Removed { cause: LeaveCause::Expired, .. })
    }

    /// Whether only subscribers to all presence events get it.
    pub(crate) fn is_of_members(&self) -> bool {
        matches!(self, Self::Presence(_) | Self::Missed { .. })
    }

    /// Whether it is a presence event.
    pub fn is_event(&self) -> bool {
        match self {
            Self::Presence(change) => change.member != MemberChange::Unchanged,
            Self::Missed { .. } => true,
            Self::Confirmed
            | Self::Rejected(_)
            | Self::Ended
            | Self::Done
            | Self::NotSubscribed
            | Self::Publication(_)
            | Self::Whisper(_)
            | Self::Arrived
            | Self::PresenceList(_)
            | Self::PresenceCount(_)
            | Self::PresenceRecords(_)
            | Self::Occupancy(_)
            | Self::Refused(_)
            | Self::HistoryConfirmed
            | Self::HistoryRejected => false,
        }
    }

    /// Approximate memory, in bytes.
    pub fn weight(&self) -> usize {
        let payload = match self {
            Self::Publication(publication) => publication.length(),
            Self::Whisper(Whisper { event, data }) => {
                data.as_str().len() + event.as_ref().map_or(0, |event| event.len())
            }
            Self::Presence(change) => {
                let members = change.members.as_ref().map_or(0, |members| members.ids.len());
                size_of::<PresenceChange>()
                    + change.id.as_str().len()
                    + change.record.info().as_str().len()
                    + length(&change.extra)
                    + members * size_of::<PresenceId>()
            }
            Self::Missed { id, change, extra } => {
                id.as_str().len()
                    + change.info().map_or(0, |info| info.as_str().len())
                    + length(extra)
            }
            Self::PresenceList(members) => members.len() * size_of::<Member>(),
            Self::PresenceRecords(members) => {
                let records: usize = members.iter().map(|member| member.records.len()).sum();
                members.len() * size_of::<MemberRecords>() + records * size_of::<Record>()
            }
            Self::Rejected(reason) | Self::Refused(reason) => reason.len(),
            Self::Confirmed
            | Self::Ended
            | Self::Done
            | Self::NotSubscribed
            | Self::Arrived
            | Self::PresenceCount(_)
            | Self::Occupancy(_)
            | Self::HistoryConfirmed
            | Self::HistoryRejected => 0,
        };
        payload + size_of::<Self>()
    }
}

fn length(extra: &Extra) -> usize {
    extra.as_ref().map_or(0, |extra| extra.as_str().len())
}

/// A message about the connection rather than a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionMessage {
    /// The connection is ready.
    Welcome {
        /// Its session.
        sid: SessionId,
        /// What was resumed; `None` for a new session.
        restored: Vec<Identifier>,
    },
    /// A ping of the protocol.
    Ping {
        /// Its timestamp, in the connection's precision.
        timestamp: u64,
    },
    /// The reply to a client's ping.
    Pong,
    /// An error about a frame.
    Error {
        /// The kind of command, as far as it could be decoded.
        command: CommandKind,
        /// The reason.
        reason: Cow<'static, str>,
    },
    /// The connection is about to be closed.
    Disconnect {
        /// Why.
        reason: CloseReason,
        /// Whether the client should reconnect.
        reconnect: bool,
    },
}

/// A message published to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The stream.
    pub stream: StreamName,
    /// The payload: the publisher's JSON, byte for byte.
    pub data: RawJson,
    /// Event name and broadcast type, if given.
    pub labels: Labels,
    /// When it was accepted, in milliseconds of the Unix epoch.
    pub at: u64,
    /// Its position in the history, if it is kept.
    pub position: Option<StreamPosition>,
}

impl Publication {
    /// Memory of its texts, in bytes.
    pub fn length(&self) -> usize {
        let labels = self.labels.as_deref().map_or(0, |Label { event, frame_type }| {
            let texts = [event, frame_type].into_iter().flatten();
            size_of::<Label>() + texts.map(|text| text.len()).sum::<usize>()
        });
        self.data.as_str().len() + labels
    }
}

/// Labels of a publication; eight bytes if there are none.
pub type Labels = Option<Arc<Label>>;

/// Labels of a publication for specific protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The event's name for Phoenix.
    pub event: Option<Arc<str>>,
    /// The frame's `type` for Action Cable.
    pub frame_type: Option<Arc<str>>,
}

impl Label {
    /// Labels with these, if there are any.
    pub fn new(event: Option<Arc<str>>, frame_type: Option<Arc<str>>) -> Labels {
        let is_any = event.is_some() || frame_type.is_some();
        is_any.then(|| Arc::new(Self { event, frame_type }))
    }
}

/// A message from one subscriber to the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whisper {
    /// The event's name, if the client gave one.
    pub event: Option<Arc<str>>,
    /// The payload.
    pub data: RawJson,
}

/// A change of one record, and its effect on the member.
///
/// Protocols that show members use `member`; those that show devices use `record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// The member.
    pub id: PresenceId,
    /// The record's reference, unique within the stream.
    pub reference: u64,
    /// The change of the record.
    pub record: RecordChange,
    /// The effect on the member.
    pub member: MemberChange,
    /// The application's data for the member's info; the last if the member is gone.
    pub extra: Extra,
    /// The members after all changes that are sent together, for protocols that repeat the list,
    /// unless it is too large.
    pub members: Option<Arc<CachedList<IdList>>>,
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Added.
    Added {
        /// Its info.
        info: RawJson,
    },
    /// Changed.
    Updated {
        /// The new info.
        info: RawJson,
        /// Its previous reference.
        previous: u64,
        /// Its previous info.
        before: RawJson,
    },
    /// Removed.
    Removed {
        /// Its last info.
        info: RawJson,
        /// The cause.
        cause: LeaveCause,
    },
}

impl RecordChange {
    /// The record's info; the last if it is removed.
    pub fn info(&self) -> &RawJson {
        match self {
            Self::Added { info } | Self::Updated { info, .. } | Self::Removed { info, .. } => info,
        }
    }
}

/// A record change's effect on its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// The first record: the member has joined.
    Joined {
        /// The info that others see.
        info: RawJson,
    },
    /// The info that others see has changed.
    Updated {
        /// The new info.
        info: RawJson,
    },
    /// The last record was removed: the member has left.
    Left,
    /// Nothing visible to others.
    Unchanged,
}

/// What became of a member.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// It arrived.
    Joined,
    /// Others see something else of it.
    Updated,
    /// It left.
    Left,
}

impl MemberChange {
    /// What became of the member, if others noticed anything.
    pub const fn event(&self) -> Option<MemberEvent> {
        match self {
            Self::Joined { .. } => Some(MemberEvent::Joined),
            Self::Updated { .. } => Some(MemberEvent::Updated),
            Self::Left => Some(MemberEvent::Left),
            Self::Unchanged => None,
        }
    }

    /// Whether the number of members changed.
    pub(crate) const fn comes_or_goes(&self) -> bool {
        match self {
            Self::Joined { .. } | Self::Left => true,
            Self::Updated { .. } | Self::Unchanged => false,
        }
    }

    /// The info that others see, if it changed.
    pub fn info(&self) -> Option<&RawJson> {
        match self {
            Self::Joined { info } | Self::Updated { info } => Some(info),
            Self::Left | Self::Unchanged => None,
        }
    }
}

/// A stream's members, in order of arrival.
pub type MemberList = Vec<Member>;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The presence id.
    pub id: PresenceId,
    /// The info that others see.
    pub info: RawJson,
    /// The application's data.
    pub extra: Extra,
}

/// The presence ids of a stream's members, in order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdList {
    /// The ids.
    pub ids: Vec<PresenceId>,
    /// Their total size in bytes.
    pub size: usize,
}

impl FromIterator<PresenceId> for IdList {
    fn from_iter<T: IntoIterator<Item = PresenceId>>(ids: T) -> Self {
        let ids: Vec<PresenceId> = ids.into_iter().collect();
        let size = ids.iter().map(|id| id.as_str().len()).sum();
        Self { ids, size }
    }
}

/// A stream's members with their records, in order of arrival.
pub type RecordList = Vec<MemberRecords>;

/// A member with its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecords {
    /// The presence id.
    pub id: PresenceId,
    /// The records in the order of their last change; the member's info is that of the last.
    pub records: Vec<Record>,
    /// The application's data.
    pub extra: Extra,
}

/// One session's membership in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its reference, unique within the stream; it changes with the info.
    pub reference: u64,
    /// Its info.
    pub info: RawJson,
}
