//! Entries of a shard's queue.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::query::Query;
use super::room::Place;
use crate::cluster::{Answer, Ask, AskId};
use crate::engine::Event;
use crate::log::{NodeId, Position, SessionChange, SessionState, Void};
use crate::outbound::Recipient;
use crate::shard::{Input, Placed, Publish, Put, SubscriberKey};
use crate::types::{
    CachedList, Grant, MemberList, MemberRecords, PresenceId, Publication, RecordList, SessionId,
    StreamName,
};

/// An entry of a shard's queue.
#[derive(Debug)]
pub(super) enum Job {
    Input {
        stream: StreamName,
        input: Input<Recipient>,
        /// Room for its payload.
        place: Place,
    },
    Ended(Ended),
    Presence {
        stream: StreamName,
        records: bool,
        answer: oneshot::Sender<Presence>,
    },
    Records {
        stream: StreamName,
        answer: oneshot::Sender<Arc<RecordList>>,
    },
    Member {
        stream: StreamName,
        id: PresenceId,
        answer: oneshot::Sender<Option<MemberRecords>>,
    },
    Put {
        stream: StreamName,
        put: Put,
        answer: oneshot::Sender<Result<Placed, Void>>,
    },
    /// Answered with the number of removed records.
    Kick {
        stream: StreamName,
        id: PresenceId,
        answer: oneshot::Sender<usize>,
    },
    /// A publication of the application. Answered once it is in the log.
    Publish {
        stream: StreamName,
        publish: Publish,
        answer: oneshot::Sender<()>,
        /// Room for its payload.
        place: Place,
    },
    History {
        stream: StreamName,
        answer: oneshot::Sender<Vec<Arc<Publication>>>,
    },
    /// What happened in the partition's log.
    Event(Event),
    /// The nodes there are.
    Members {
        /// A list with a higher number is a later one.
        number: u64,
        members: Arc<BTreeSet<NodeId>>,
    },
    /// Asks all nodes to do something, or one. Answered with all their answers together.
    Ask {
        of: Option<NodeId>,
        ask: Ask,
        answer: oneshot::Sender<Answer>,
    },
    /// This node has done what it was asked to.
    Answer {
        to: AskId,
        answer: Answer,
    },
    /// Answered once the partition's log is read up to a position.
    Reach {
        position: Position,
        answer: oneshot::Sender<()>,
    },
    /// Answered once all earlier entries are applied and on disk.
    Sync {
        answer: oneshot::Sender<()>,
    },
    /// Answered with the presence id under which a subscription is present.
    Identify {
        stream: StreamName,
        key: SubscriberKey,
        answer: oneshot::Sender<Option<PresenceId>>,
    },
    /// A parked subscription has ended.
    Forget {
        stream: StreamName,
        key: SubscriberKey,
    },
    Query(Query),
    /// What the application knows of a session changes. Answered once that is kept.
    Session {
        change: SessionChange,
        answer: Option<SessionAnswer>,
    },
    /// Answered with what the application knows of a session, if it is kept.
    Known {
        sid: SessionId,
        answer: oneshot::Sender<Option<Arc<SessionState>>>,
    },
    /// Answered with whether the subscription was resumed.
    Resume {
        stream: StreamName,
        resume: Resume,
        answer: oneshot::Sender<bool>,
    },
}

impl Job {
    /// Whether it is a change whose requester waits no longer.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self, Self::Put { answer, .. } if answer.is_closed())
            || matches!(self, Self::Kick { answer, .. } if answer.is_closed())
            || matches!(self, Self::Publish { answer, .. } if answer.is_closed())
            || matches!(self, Self::Ask { answer, .. } if answer.is_closed())
    }
}

/// Who waits until a change of a session is kept; the error is why it is void.
pub(super) type SessionAnswer = oneshot::Sender<Result<(), Void>>;

/// Requester of an outcome.
#[derive(Debug)]
pub(super) enum Asked {
    Sync(oneshot::Sender<()>),
    /// A publication, and the room for its payload.
    Publish(oneshot::Sender<()>, Place),
    /// Nobody: room for a payload is given back.
    Nobody(Place),
    /// Dropped when it was delivered what came before.
    Goodbye(Arc<Goodbye>),
    Put(oneshot::Sender<Result<Placed, Void>>),
    Kick(oneshot::Sender<usize>),
    Resume(oneshot::Sender<bool>),
    Identify(oneshot::Sender<Option<PresenceId>>),
}

/// A subscription to resume.
#[derive(Debug)]
pub struct Resume {
    /// The key of the parked subscription.
    pub from: SubscriberKey,
    /// The key of the new one.
    pub to: SessionId,
    /// The new connection's outbox.
    pub recipient: Recipient,
}

/// A subscription whose connection has ended.
#[derive(Debug)]
pub struct Ended {
    /// TTL of its record in seconds, if that isn't the shard's.
    pub ttl: Option<NonZero<u32>>,
    /// Its stream.
    pub stream: StreamName,
    /// Its key.
    pub key: SubscriberKey,
    /// The connection's outbox, which knows what was delivered.
    pub outbox: Recipient,
    /// When the end was noticed.
    pub at: Instant,
    /// What was granted, if the session can be resumed.
    pub grant: Option<Grant>,
    /// Set for a remote disconnect: messages up to now are delivered before the connection ends.
    pub goodbye: Option<Arc<Goodbye>>,
}

/// Closes a connection once all its streams have delivered what came before: on the last drop.
#[derive(Debug)]
pub struct Goodbye(pub Recipient);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.finish_close();
    }
}

/// The members of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Their number.
    pub total: usize,
    /// The members in order of arrival, if asked for.
    pub members: Option<Arc<CachedList<MemberList>>>,
}
