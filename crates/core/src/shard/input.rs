//! Inputs of a shard.

use std::sync::Arc;
use std::time::Instant;

use crate::log::Subscription;
use crate::types::{GroupKey, Labels, RawJson, Reference, SessionId, StreamCommand};

/// Key of a subscriber within its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriberKey {
    /// The session.
    pub session: SessionId,
    /// The group.
    pub group: GroupKey,
}

impl SubscriberKey {
    /// The same, for the log.
    pub(crate) fn subscription(&self) -> Subscription {
        Subscription { session: self.session, identifier: self.group.identifier.clone() }
    }
}

/// An input for a stream.
#[derive(Debug)]
pub enum Input<R> {
    /// A client's command.
    Command {
        /// The subscriber.
        key: SubscriberKey,
        /// Destination of replies.
        recipient: R,
        /// The command.
        command: StreamCommand,
        /// The client's reference for the reply.
        reference: Option<Arc<Reference>>,
    },
    /// A subscriber's connection ended. Poll the replies first, so that those it didn't get count as
    /// unconfirmed.
    Ended {
        /// The subscriber.
        key: SubscriberKey,
        /// How it ended.
        end: End,
    },
    /// The application published a message.
    Publish {
        /// The payload.
        data: RawJson,
        /// Its labels.
        labels: Labels,
        /// Time of acceptance, in milliseconds of the Unix epoch.
        at: u64,
        /// The session that is excluded.
        except: Option<SessionId>,
        /// Whether it isn't kept in the history.
        is_transient: bool,
    },
}

/// How a subscriber's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Time at which it was noticed.
    pub at: Instant,
    /// Time since which the delivery of presence events is unconfirmed; `None` if all are confirmed.
    pub unacked_since: Option<Instant>,
    /// Whether its session can be resumed.
    pub resumable: bool,
}

impl End {
    /// An end without resume.
    pub const fn at(at: Instant) -> Self {
        Self { at, unacked_since: None, resumable: false }
    }
}
