//! What waits in a shard's queue.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::question::Question;
use crate::outbound::Recipient;
use crate::shard::{Full, Input, Placed, Put, SubscriberKey};
use crate::types::{
    Listed, MemberList, MemberRecords, PresenceId, Publication, RecordList, SessionId, StreamName,
};

/// Work for a shard.
#[derive(Debug)]
pub(super) enum Job {
    Input(StreamName, Input<Recipient>),
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
        answer: oneshot::Sender<Result<Placed, Full>>,
    },
    /// Answered with how many records went.
    Kick {
        stream: StreamName,
        id: PresenceId,
        answer: oneshot::Sender<usize>,
    },
    History {
        stream: StreamName,
        answer: oneshot::Sender<Vec<Arc<Publication>>>,
    },
    /// Answered once all that came before has been applied and is kept.
    Settle {
        answer: oneshot::Sender<()>,
    },
    /// A parked subscription is over.
    Forget {
        stream: StreamName,
        key: SubscriberKey,
    },
    Question(Question),
    /// Answered with whether it could be.
    Resume {
        stream: StreamName,
        resume: Resume,
        answer: oneshot::Sender<bool>,
    },
}

/// A subscription that is to be taken over.
#[derive(Debug)]
pub struct Resume {
    /// Whose it is.
    pub from: SubscriberKey,
    /// Whose it will be.
    pub to: SessionId,
    /// Where the answers go then.
    pub recipient: Recipient,
}

/// A subscription whose connection has ended.
#[derive(Debug)]
pub struct Ended {
    /// What it follows.
    pub stream: StreamName,
    /// Whose it is.
    pub key: SubscriberKey,
    /// The connection, which knows what arrived.
    pub outbox: Recipient,
    /// When the end was noticed.
    pub at: Instant,
    /// Whether its session can be resumed.
    pub resumable: bool,
    /// The connection is to be told first what it is yet to be told.
    pub goodbye: Option<Arc<Goodbye>>,
}

/// Ends a connection behind what its streams have told it: when the last of them drops this.
#[derive(Debug)]
pub struct Goodbye(pub Recipient);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.finish_close();
    }
}

/// Who is present in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// How many.
    pub total: usize,
    /// Who, in order of arrival, if that was asked for.
    pub members: Option<Arc<Listed<MemberList>>>,
}
