//! What can happen to a stream.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Position;
use crate::types::{
    Codec, Epoch, Extra, Grant, Identifier, JoinCause, Labels, MemberEvent, Offset, PresenceId,
    RawJson, SessionId, Watch, Whisper,
};

/// One change of one stream, with all that decides what it does: limits, TTLs and what the application
/// said. What is lasting is void before the stream has begun.
///
/// State files number the variants in this order: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The stream begins. Void if it has begun.
    Began {
        /// When the newest publication was made that it may have had before, in milliseconds of the
        /// Unix epoch; 0 if there was none.
        lost: u64,
    },
    /// Nothing of the stream is left. Void if something is.
    Forgotten {
        /// When its newest publication was made, likewise.
        lost: u64,
    },

    /// A message was published.
    Published {
        /// The payload.
        data: RawJson,
        /// How clients are to take it, if that was said.
        labels: Labels,
        /// When it was accepted, in milliseconds of the Unix epoch.
        at: u64,
        /// The session that isn't told.
        except: Option<SessionId>,
        /// Whether it gets an offset and is kept.
        is_kept: bool,
        /// The subscription that publishes it and has to be present, if one has. Else void.
        author: Option<Subscription>,
    },
    /// A subscriber told the others something.
    Whispered {
        /// What.
        whisper: Whisper,
        /// The subscriber's session, which isn't told.
        from: SessionId,
        /// As in [`Change::Published`].
        author: Option<Subscription>,
    },
    /// Somebody has subscribed, and all are to know.
    Arrived,

    /// A subscription is present: with a record of its own, an orphan of its presence id, or the record
    /// it has. Void if the stream is full, or the record has another presence id.
    Joined {
        /// The subscription.
        by: Subscription,
        /// Who is present.
        id: PresenceId,
        /// What others see of them.
        info: RawJson,
        /// What the application says of them. Without it that of before stays.
        extra: Extra,
        /// By what command.
        cause: JoinCause,
        /// Whether it has to be present already; else void.
        is_update: bool,
        /// Most members of the stream.
        max_members: usize,
    },
    /// A subscription is no longer present. Void if it wasn't, or not under this id.
    Left {
        /// The subscription.
        by: Subscription,
        /// Under which id, if that was said.
        id: Option<PresenceId>,
    },
    /// The application put a record of its own, or another info or time into it. Void if the stream is
    /// full.
    Put {
        /// Who is present.
        id: PresenceId,
        /// What others see of them.
        info: RawJson,
        /// What the application says of them. Without it that of before stays.
        extra: Extra,
        /// When the record expires, in milliseconds of the Unix epoch; if it does.
        until: Option<u64>,
        /// Most members of the stream.
        max_members: usize,
    },
    /// The application took a member out, with every record. Void if there is no such member.
    Kicked {
        /// Who.
        id: PresenceId,
    },
    /// A record's time is over. Void if it has changed, or has more time or another.
    Expired {
        /// Whose it is.
        id: PresenceId,
        /// The record, by its last change.
        record: Position,
        /// What made it run out.
        due: Due,
    },

    /// A session follows the stream, and can be resumed after a restart.
    Subscribed {
        /// The subscription.
        by: Subscription,
        /// What its connection speaks.
        codec: Codec,
        /// What it is told about presence.
        watch: Watch,
        /// What it may do, and whom it was given to.
        grant: Grant,
    },
    /// A subscription is over, and its record with it.
    Unsubscribed {
        /// The subscription.
        by: Subscription,
    },
    /// A subscription's connection ended. Its record has the TTL from then.
    Ended {
        /// The subscription.
        by: Subscription,
        /// How long its record stays.
        ttl: Duration,
        /// What is kept of it, if its session can be resumed.
        parking: Option<Box<Parking>>,
    },
    /// A parked subscription can't be resumed any more. Void if it isn't parked.
    Lapsed {
        /// The subscription.
        by: Subscription,
    },
    /// A parked subscription, and its record, moved to another session. Void if it isn't parked.
    Resumed {
        /// The subscription.
        from: Subscription,
        /// The session that has it now.
        to: SessionId,
    },
    /// The process that held all connections has ended.
    Restarted {
        /// How long records of sessions stay.
        ttl: Duration,
        /// Whether sessions can be resumed.
        resumable: bool,
    },

    /// What was known of the stream is replaced by this and the snapshot's changes that follow:
    /// [`Change::Kept`], [`Change::Record`], [`Change::Resumable`], [`Change::Noted`].
    Snapshot {
        /// The epoch of its history.
        epoch: Epoch,
        /// The offset of the newest publication before those that follow.
        head: Offset,
        /// When the newest publication that doesn't follow was made, in milliseconds of the Unix epoch.
        lost: u64,
        /// From where on all that became of its members follows.
        journal: Position,
    },
    /// A publication that is kept, each with the offset after the one before. Nobody is told it again.
    Kept {
        /// The payload.
        data: RawJson,
        /// How clients are to take it, if that was said.
        labels: Labels,
        /// When it was accepted, in milliseconds of the Unix epoch.
        at: u64,
    },
    /// A record, as it is since its last change. Members follow each other in order of arrival, a
    /// member's records in the order of their last change.
    Record {
        /// Whose it is.
        owner: Owner,
        /// Who is present.
        id: PresenceId,
        /// What others see of them.
        info: RawJson,
        /// What the application says of them.
        extra: Extra,
    },
    /// A subscription that can be resumed.
    Resumable {
        /// The subscription.
        by: Subscription,
        /// What its connection speaks.
        codec: Codec,
        /// What it is told about presence.
        watch: Watch,
        /// What it may do, where that is kept.
        grant: Option<Grant>,
        /// What its client knew, if its connection has ended.
        known: Option<Known>,
    },
    /// What became of a member.
    Noted {
        /// Who.
        id: PresenceId,
        /// What.
        event: MemberEvent,
    },
}

/// A session's key for following a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subscription {
    /// The session.
    pub session: SessionId,
    /// Its key.
    pub identifier: Identifier,
}

/// Whose a record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// A subscription's.
    Subscription {
        /// Which.
        by: Subscription,
        /// Where its connection ended, if it has.
        ended: Option<Position>,
    },
    /// Nobody's: the connection ended there, and its session can't be resumed.
    Orphan {
        /// Where.
        ended: Position,
    },
    /// The application's.
    Application {
        /// When it expires, in milliseconds of the Unix epoch; if it does.
        until: Option<u64>,
    },
}

/// What makes a record run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Due {
    /// The end of its connection, at this position.
    Ended(Position),
    /// The time that the application gave it, in milliseconds of the Unix epoch.
    Until(u64),
}

/// What is kept of a subscription whose connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parking {
    /// What its connection spoke.
    pub codec: Codec,
    /// What it is told about presence.
    pub watch: Watch,
    /// What its client knew.
    pub known: Known,
}

/// What a subscriber knew of a stream's members when its connection ended: a range, as what was
/// written last may have arrived or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// It has got what was told of all entries before this position.
    pub surely: Position,
    /// It may have got what was told of those before this position.
    pub perhaps: Position,
}

impl Known {
    /// Nothing is known of what it got.
    pub const NOTHING: Self = Self { surely: Position(0), perhaps: Position(u64::MAX) };

    /// The same, if what brought it up from an earlier state may not have arrived.
    #[must_use]
    pub fn or_as_before(self, earlier: Self) -> Self {
        Self { surely: self.surely.min(earlier.surely), ..self }
    }
}

impl Change {
    /// Whether it matters to who applies the log later: what was only said, and is not kept, doesn't.
    pub const fn is_lasting(&self) -> bool {
        !matches!(
            self,
            Self::Published { is_kept: false, .. } | Self::Whispered { .. } | Self::Arrived
        )
    }
}
