//! What clients are told, whatever protocol it is told in.

use std::borrow::Cow;
use std::sync::Arc;

use super::{
    CloseReason, CommandKind, Extra, Identifier, LeaveCause, Listed, Position, PresenceId, RawJson,
    SessionId, StreamName,
};

/// Something a subscriber is told about its subscription. Cheap to clone: payloads are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// The subscription stands.
    Confirmed,
    /// The subscription doesn't stand; why.
    Rejected(Cow<'static, str>),
    /// The subscription is over.
    Ended,
    /// A command that has a reference was followed, and there is nothing else to say about it.
    Done,
    /// There is no such subscription.
    NotSubscribed,
    /// A message published to the stream.
    Publication(Arc<Publication>),
    /// A message from another subscriber.
    Whisper(Whisper),
    /// Somebody has subscribed.
    Arrived,
    /// Someone's presence changed.
    Presence(Arc<PresenceChange>),
    /// What became of a member while the subscriber was away.
    Missed {
        /// Whose presence changed.
        id: PresenceId,
        /// How it is different now.
        change: MemberChange,
        /// What the application says of it.
        extra: Extra,
    },
    /// Who is present, on request.
    PresenceList(Arc<Listed<MemberList>>),
    /// How many are present, on request.
    PresenceCount(usize),
    /// Who is present with each record, on request.
    PresenceRecords(Arc<RecordList>),
    /// How many are present now, for those who only count.
    Occupancy(usize),
    /// A command about a subscription was refused; why.
    Refused(Cow<'static, str>),
    /// All that was missed has been sent.
    HistoryConfirmed,
    /// What was missed can't be told.
    HistoryRejected,
}

impl ServerMessage {
    /// Whether nobody waits for it: somebody is gone who was gone long before.
    pub fn can_wait(&self) -> bool {
        let Self::Presence(change) = self else { return false };
        matches!(change.record, RecordChange::Removed { cause: LeaveCause::Expired, .. })
    }

    /// Whether it is told to those alone who are told of each member.
    pub fn is_of_members(&self) -> bool {
        matches!(self, Self::Presence(_) | Self::Missed { .. })
    }

    /// Whether it tells of a member that came, left or changed.
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

    /// Roughly the memory it takes, in bytes.
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

/// Something a connection is told that is about no subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionMessage {
    /// The connection is ready.
    Welcome {
        /// The session it holds.
        sid: SessionId,
        /// What it has taken over from the session it resumes; nothing if it is new.
        restored: Vec<Identifier>,
    },
    /// The broker is there.
    Ping {
        /// Time of the ping, in the connection's own precision.
        timestamp: u64,
    },
    /// The answer to a client's ping.
    Pong,
    /// A frame that could not be followed.
    Error {
        /// The command it was, as far as it could be told.
        command: CommandKind,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// The connection is about to be closed.
    Disconnect {
        /// Why.
        reason: CloseReason,
        /// Whether the client should come back.
        reconnect: bool,
    },
}

/// A message accepted for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The stream it was published to.
    pub stream: StreamName,
    /// The payload: the JSON the application sent, byte for byte.
    pub data: RawJson,
    /// How clients are to take it, if the application said so.
    pub labels: Labels,
    /// When it was accepted, in milliseconds of the Unix epoch.
    pub at: u64,
    /// Where it stands in the stream's history, if the stream keeps one.
    pub position: Option<Position>,
}

impl Publication {
    /// The memory that its texts take, in bytes.
    pub fn length(&self) -> usize {
        let labels = self.labels.as_deref().map_or(0, |Label { event, frame_type }| {
            let texts = [event, frame_type].into_iter().flatten();
            size_of::<Label>() + texts.map(|text| text.len()).sum::<usize>()
        });
        self.data.as_str().len() + labels
    }
}

/// What a publication is labelled with; eight bytes where it isn't.
pub type Labels = Option<Box<Label>>;

/// How clients are to take a publication, by their protocol's own names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The event of Phoenix.
    pub event: Option<Arc<str>>,
    /// The `type` of Action Cable's frame.
    pub frame_type: Option<Arc<str>>,
}

impl Label {
    /// Labels with these, if there are any.
    pub fn new(event: Option<Arc<str>>, frame_type: Option<Arc<str>>) -> Labels {
        let is_any = event.is_some() || frame_type.is_some();
        is_any.then(|| Box::new(Self { event, frame_type }))
    }
}

/// A message from a subscriber to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whisper {
    /// What kind of event it is, if the client said so.
    pub event: Option<Arc<str>>,
    /// The payload.
    pub data: RawJson,
}

/// One record of a stream's presence changed, and what that did to its member.
///
/// Protocols that count people look at `member`; protocols that show every device look at
/// `record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// Whose record.
    pub id: PresenceId,
    /// The record's reference, unique within the stream.
    pub reference: u64,
    /// What happened to the record.
    pub record: RecordChange,
    /// What that means for the member.
    pub member: MemberChange,
    /// What the application says of the member, with the info that others see of it; the last if it
    /// is gone.
    pub extra: Extra,
    /// Who is present after it and all that is told along with it, for a subscriber whose protocol
    /// repeats that; if it isn't too much.
    pub members: Option<Arc<Listed<IdList>>>,
}

/// What happened to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// It is new.
    Added {
        /// Its info.
        info: RawJson,
    },
    /// Its info changed.
    Updated {
        /// The new info.
        info: RawJson,
        /// The reference it had before.
        previous: u64,
        /// The info it had before.
        before: RawJson,
    },
    /// It is gone.
    Removed {
        /// Its last info.
        info: RawJson,
        /// Why it went.
        cause: LeaveCause,
    },
}

impl RecordChange {
    /// The record's info, the last one if it is gone.
    pub fn info(&self) -> &RawJson {
        match self {
            Self::Added { info } | Self::Updated { info, .. } | Self::Removed { info, .. } => info,
        }
    }
}

/// What a record's change did to the member it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// The first record: the member is present now.
    Joined {
        /// What others see of the member.
        info: RawJson,
    },
    /// What others see of the member is different now.
    Updated {
        /// What they see.
        info: RawJson,
    },
    /// The last record went: the member is present no more.
    Left,
    /// Nothing that others would notice.
    Unchanged,
}

impl MemberChange {
    /// Whether there is one member more now, or one less.
    pub const fn comes_or_goes(&self) -> bool {
        match self {
            Self::Joined { .. } | Self::Left => true,
            Self::Updated { .. } | Self::Unchanged => false,
        }
    }

    /// What others see of the member now, if it is news.
    pub fn info(&self) -> Option<&RawJson> {
        match self {
            Self::Joined { info } | Self::Updated { info } => Some(info),
            Self::Left | Self::Unchanged => None,
        }
    }
}

/// A stream's members in order of arrival.
pub type MemberList = Vec<Member>;

/// One who is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: PresenceId,
    /// What others see of them.
    pub info: RawJson,
    /// What the application says of them.
    pub extra: Extra,
}

/// The presence ids of a stream's members in order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdList {
    /// The ids.
    pub ids: Vec<PresenceId>,
    /// Bytes of all of them.
    pub size: usize,
}

impl FromIterator<PresenceId> for IdList {
    fn from_iter<T: IntoIterator<Item = PresenceId>>(ids: T) -> Self {
        let ids: Vec<PresenceId> = ids.into_iter().collect();
        let size = ids.iter().map(|id| id.as_str().len()).sum();
        Self { ids, size }
    }
}

/// A stream's members in order of arrival, with their records.
pub type RecordList = Vec<MemberRecords>;

/// One who is present, with each of their records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecords {
    /// Who.
    pub id: PresenceId,
    /// The records in the order of their last change: the info of the last is the member's.
    pub records: Vec<Record>,
    /// What the application says of them.
    pub extra: Extra,
}

/// One session's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its reference, unique within the stream; another one after each change.
    pub reference: u64,
    /// Its info.
    pub info: RawJson,
}
