//! Changes of a stream.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::node::NodeId;
use super::position::Position;
use crate::types::{
    Codec, Epoch, Extra, Grant, Identifier, JoinCause, Labels, MemberEvent, Offset, PresenceId,
    RawJson, SessionId, Watch, Whisper,
};

/// One change of one stream. It carries everything its effect depends on: limits, TTLs and the
/// application's data. Lasting changes are void before the stream has begun.
///
/// State files number the variants in this order: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The stream begins. Void if it has begun.
    Began {
        /// Time of the newest publication that an earlier stream of this name may have had, in
        /// milliseconds of the Unix epoch; 0 if there was none.
        lost: u64,
    },
    /// The stream ends, as it has no state left and no publication is kept. Void if it has state, or if
    /// anything was published since.
    Forgotten {
        /// Epoch of its history.
        epoch: Epoch,
        /// Offset of its newest publication.
        head: Offset,
        /// Time of that publication, likewise.
        lost: u64,
    },

    /// A message was published.
    Published {
        /// The payload.
        data: RawJson,
        /// Labels for clients, such as an event name.
        labels: Labels,
        /// Time of acceptance, in milliseconds of the Unix epoch.
        at: u64,
        /// The session that doesn't get it.
        except: Option<SessionId>,
        /// Whether it gets an offset and is kept.
        is_kept: bool,
        /// The subscription that publishes it, if that has to be present. Void if it isn't.
        author: Option<Subscription>,
    },
    /// A subscriber sent a whisper to the others.
    Whispered {
        /// The whisper.
        whisper: Whisper,
        /// The subscriber's session, which doesn't get it.
        from: SessionId,
        /// As in [`Change::Published`].
        author: Option<Subscription>,
    },
    /// A subscriber was added, and the others are notified.
    Arrived,

    /// A subscription is present: with a new record, an orphan of its presence id, or its own record.
    /// Void if the stream is full, or its record has another presence id.
    Joined {
        /// The subscription.
        by: Subscription,
        /// The presence id.
        id: PresenceId,
        /// The client's info.
        info: RawJson,
        /// The application's data; `None` keeps the previous.
        extra: Extra,
        /// The command that caused it.
        cause: JoinCause,
        /// Whether it is an update: void if the subscription isn't present.
        is_update: bool,
        /// Maximum number of members in the stream.
        max_members: usize,
    },
    /// A subscription is no longer present. Void if it wasn't, or under another id.
    Left {
        /// The subscription.
        by: Subscription,
        /// The presence id, if the client gave one.
        id: Option<PresenceId>,
    },
    /// The application put a record, or changed the info or expiry of its record. Void if the stream is
    /// full.
    Put {
        /// The presence id.
        id: PresenceId,
        /// The info.
        info: RawJson,
        /// The application's data; `None` keeps the previous.
        extra: Extra,
        /// Expiry of the record, in milliseconds of the Unix epoch, if it has one.
        until: Option<u64>,
        /// Maximum number of members in the stream.
        max_members: usize,
    },
    /// The application removed a member with all its records. Void if there is no such member.
    Kicked {
        /// The presence id.
        id: PresenceId,
    },
    /// A record has expired. Void if the record or its expiry has changed.
    Expired {
        /// The presence id.
        id: PresenceId,
        /// The record, by the position of its last change.
        record: Position,
        /// The reason.
        reason: ExpiryReason,
    },

    /// A session subscribed, and can be resumed after a restart.
    Subscribed {
        /// The subscription.
        by: Subscription,
        /// Codec of its connection.
        codec: Codec,
        /// Presence messages it gets.
        watch: Watch,
        /// Its rights, and the identity that may resume it.
        grant: Grant,
    },
    /// A subscription has ended, and its record with it.
    Unsubscribed {
        /// The subscription.
        by: Subscription,
    },
    /// A subscription's connection has ended; the TTL of its record begins.
    Ended {
        /// The subscription.
        by: Subscription,
        /// TTL of its record.
        ttl: Duration,
        /// Its state while parked, if its session can be resumed.
        parking: Option<Box<Parking>>,
    },
    /// A parked subscription can no longer be resumed. Void if it isn't parked, or was parked again.
    Lapsed {
        /// The subscription.
        by: Subscription,
        /// Position at which it was parked.
        parked: Position,
    },
    /// A parked subscription and its record were moved to another session. Void if it isn't parked.
    Resumed {
        /// The subscription.
        from: Subscription,
        /// The new session.
        to: SessionId,
    },
    /// The process that held all connections has ended.
    Restarted {
        /// TTL of the sessions' records.
        ttl: Duration,
        /// Time for which sessions can be resumed, if they can.
        resumable: Option<Duration>,
    },

    /// Begin of a snapshot, which replaces the stream's state. These changes follow: [`Change::Kept`],
    /// [`Change::Record`], [`Change::Resumable`], [`Change::Noted`]. TTLs run anew from there.
    Snapshot {
        /// Epoch of its history.
        epoch: Epoch,
        /// Offset before the publications that follow.
        head: Offset,
        /// Time of the newest publication that doesn't follow, in milliseconds of the Unix epoch.
        lost: u64,
        /// Position from which on its member events follow.
        journal: Position,
    },
    /// A kept publication, with the next offset. It isn't sent again.
    Kept {
        /// The payload.
        data: RawJson,
        /// Labels for clients, such as an event name.
        labels: Labels,
        /// Time of acceptance, in milliseconds of the Unix epoch.
        at: u64,
    },
    /// A record as of its last change. Members follow in order of arrival, a member's records in the order
    /// of their last change.
    Record {
        /// Its owner.
        owner: Owner,
        /// Its TTL, if its connection has ended.
        ttl: Duration,
        /// The presence id.
        id: PresenceId,
        /// The info.
        info: RawJson,
        /// The application's data.
        extra: Extra,
        /// Time of its member's arrival, in milliseconds of the Unix epoch.
        arrived: u64,
    },
    /// A subscription that can be resumed.
    Resumable {
        /// The subscription.
        by: Subscription,
        /// Codec of its connection.
        codec: Codec,
        /// Presence messages it gets.
        watch: Watch,
        /// Its rights and identity, if they are kept on disk.
        grant: Option<Grant>,
        /// Its parking, if its connection has ended.
        parked: Option<Parked>,
        /// Time for which it can be resumed then.
        ttl: Duration,
    },
    /// A member event for the journal.
    Noted {
        /// The presence id.
        id: PresenceId,
        /// The event.
        event: MemberEvent,
    },

    /// A stream of a shared log is idle: it has no state, and the node that says so has no subscriber there
    /// and keeps no publication. Void if it has state, if anything was published since, or if it is known
    /// to be idle.
    Idle {
        /// Epoch of its history.
        epoch: Epoch,
        /// Offset of its newest publication.
        head: Offset,
    },
    /// A stream of a shared log is used by a node, which is to say when it no longer is.
    Used {
        /// The node; `None` if it is gone.
        by: Option<NodeId>,
    },
    /// A stream of a shared log ends, as no node has used it since it was idle. Void if anything has happened
    /// since.
    ForgottenByAll {
        /// Position at which it was idle.
        idle: Position,
        /// Time of its newest publication, likewise.
        lost: u64,
    },
    /// The history of a stream begins again: nodes that are gone may have shown publications that aren't in the log.
    Forked,
}

/// A session's subscription to a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subscription {
    /// The session.
    pub session: SessionId,
    /// The client's key for it.
    pub identifier: Identifier,
}

impl Subscription {
    /// The same of another session, which resumes it.
    pub(crate) fn of_session(&self, session: SessionId) -> Self {
        Self { session, identifier: self.identifier.clone() }
    }
}

/// Owner of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// A subscription.
    Subscription {
        /// The subscription.
        by: Subscription,
        /// Position at which its connection ended, if it has.
        ended: Option<Position>,
    },
    /// Nobody: the connection has ended, and its session can't be resumed.
    Orphan {
        /// Position at which the connection ended.
        ended: Position,
    },
    /// The application.
    Application {
        /// Expiry, in milliseconds of the Unix epoch, if it has one.
        until: Option<u64>,
    },
}

/// Reason for a record's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpiryReason {
    /// The end of its connection, at this position.
    Ended(Position),
    /// The time that the application set, in milliseconds of the Unix epoch.
    Until(u64),
}

/// State of a subscription while it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parking {
    /// Codec of its connection.
    pub codec: Codec,
    /// Presence messages it gets.
    pub watch: Watch,
    /// Member events its client has got.
    pub known: Known,
    /// Time for which it can be resumed.
    pub ttl: Duration,
}

/// Since when a subscription is parked, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Position at which its connection ended.
    pub at: Position,
    /// Member events its client has got.
    pub known: Known,
}

/// Member events that a subscriber had got when its connection ended: a range of positions, as it is
/// unknown whether the last writes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// It has got all events before this position.
    pub confirmed_before: Position,
    /// It may have got events before this position.
    pub sent_before: Position,
}

impl Known {
    /// It is unknown which events it got.
    pub(crate) const NOTHING: Self =
        Self { confirmed_before: Position(0), sent_before: Position(u64::MAX) };

    /// The same, if the events that brought it up to date from `earlier` may not have arrived.
    #[must_use]
    pub(crate) fn or_as_before(self, earlier: Self) -> Self {
        Self { confirmed_before: self.confirmed_before.min(earlier.confirmed_before), ..self }
    }
}

impl Change {
    /// Whether it is about the use of a stream by the nodes that share its log.
    pub(crate) const fn is_about_use(&self) -> bool {
        matches!(self, Self::Idle { .. } | Self::Used { .. } | Self::ForgottenByAll { .. })
    }

    /// Whether it changes the state, so that a later replica needs it. Messages that aren't kept don't.
    pub(crate) const fn is_lasting(&self) -> bool {
        !matches!(
            self,
            Self::Published { is_kept: false, .. } | Self::Whispered { .. } | Self::Arrived
        )
    }
}
