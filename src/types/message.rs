//! What clients are told, whatever protocol it is told in.

use std::borrow::Cow;
use std::sync::Arc;

use super::{
    CloseReason, CommandKind, Identifier, LeaveCause, Position, PresenceId, RawJson, SessionId,
    StreamName,
};

/// Something a subscriber is told about its subscription. Cheap to clone: payloads are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// The subscription stands.
    Confirmed,
    /// There is no such subscription.
    Rejected,
    /// A message published to the stream.
    Publication(Arc<Publication>),
    /// A message from another subscriber.
    Whisper(RawJson),
    /// Someone's presence changed.
    Presence(Arc<PresenceChange>),
    /// What became of a member while the subscriber was away.
    Missed {
        /// Whose presence changed.
        id: PresenceId,
        /// How it is different now.
        change: MemberChange,
    },
    /// Who is present, on request.
    PresenceList(Arc<MemberList>),
    /// How many are present, on request.
    PresenceCount(usize),
    /// A presence command was refused.
    PresenceError(Cow<'static, str>),
    /// All that was missed has been sent.
    HistoryConfirmed,
    /// What was missed can't be told.
    HistoryRejected,
}

impl ServerMessage {
    /// Whether it tells of a member that came, left or changed.
    pub fn is_event(&self) -> bool {
        match self {
            Self::Presence(change) => change.member != MemberChange::Unchanged,
            Self::Missed { .. } => true,
            Self::Confirmed
            | Self::Rejected
            | Self::Publication(_)
            | Self::Whisper(_)
            | Self::PresenceList(_)
            | Self::PresenceCount(_)
            | Self::PresenceError(_)
            | Self::HistoryConfirmed
            | Self::HistoryRejected => false,
        }
    }

    /// Roughly the memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        let payload = match self {
            Self::Publication(publication) => publication.data.as_str().len(),
            Self::Whisper(data) => data.as_str().len(),
            Self::Presence(change) => {
                change.id.as_str().len() + change.record.info().as_str().len()
            }
            Self::Missed { id, change } => {
                id.as_str().len() + change.info().map_or(0, |info| info.as_str().len())
            }
            Self::PresenceList(members) => members.len() * size_of::<Member>(),
            Self::PresenceError(reason) => reason.len(),
            Self::Confirmed
            | Self::Rejected
            | Self::PresenceCount(_)
            | Self::HistoryConfirmed
            | Self::HistoryRejected => 0,
        };
        payload + size_of::<Self>()
    }
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
    /// When it was accepted, in milliseconds of the Unix epoch.
    pub at: u64,
    /// Where it stands in the stream's history, if the stream keeps one.
    pub position: Option<Position>,
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
}
