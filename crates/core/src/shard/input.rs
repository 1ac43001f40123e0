//! Inputs of a shard.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

use super::outcome::Ticket;
use super::put::Put;
use crate::log::Subscription;
use crate::types::{
    Grant, GroupKey, Labels, PresenceId, RawJson, Reference, SessionId, StreamCommand,
};

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
    Publish(Publish),
    /// The application puts a record. The outcome is [`Outcome::Put`](super::Outcome::Put).
    Put {
        /// The record.
        put: Put,
        /// For the outcome.
        ticket: Ticket,
    },
    /// The application removes a member with all its records. Their subscriptions stay, and may join again.
    /// The outcome is [`Outcome::Kicked`](super::Outcome::Kicked).
    Kick {
        /// The member.
        id: PresenceId,
        /// For the outcome.
        ticket: Ticket,
    },
    /// A parked subscription and its record move to another session without an event, and the member events
    /// it missed are the reply. Poll the replies at once: they count as sent at that time. The outcome is
    /// [`Outcome::Resumed`](super::Outcome::Resumed).
    Resume {
        /// The parked subscription.
        from: SubscriberKey,
        /// The session that it moves to.
        to: SessionId,
        /// That session's destination.
        recipient: R,
        /// For the outcome.
        ticket: Ticket,
    },
    /// A parked subscription ends. Its record keeps its TTL.
    Forget {
        /// The subscription.
        key: SubscriberKey,
    },
    /// Under which presence id is a subscription present? The outcome is
    /// [`Outcome::Present`](super::Outcome::Present).
    Identify {
        /// The subscription.
        key: SubscriberKey,
        /// For the outcome.
        ticket: Ticket,
    },
    /// A subscriber's unsent messages are sent as a reply.
    CatchUp {
        /// The subscriber.
        key: SubscriberKey,
    },
}

impl<R> Input<R> {
    /// Bytes of the payload that it carries to others.
    pub fn payload(&self) -> usize {
        match self {
            Self::Command { command, .. } => command.payload(),
            Self::Publish(publish) => publish.data.as_str().len(),
            Self::Ended { .. }
            | Self::Put { .. }
            | Self::Kick { .. }
            | Self::Resume { .. }
            | Self::Forget { .. }
            | Self::Identify { .. }
            | Self::CatchUp { .. } => 0,
        }
    }
}

impl<R> Input<R> {
    /// The sessions it is about.
    pub(super) fn sessions(&self) -> [Option<SessionId>; 2] {
        match self {
            Self::Command { key, .. }
            | Self::Ended { key, .. }
            | Self::Forget { key }
            | Self::Identify { key, .. }
            | Self::CatchUp { key } => [Some(key.session), None],
            Self::Resume { from, to, .. } => [Some(from.session), Some(*to)],
            Self::Publish(_) | Self::Put { .. } | Self::Kick { .. } => [None, None],
        }
    }
}

/// A publication of the application.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The payload.
    pub data: RawJson,
    /// Its labels.
    pub labels: Labels,
    /// Time of acceptance, in milliseconds of the Unix epoch.
    pub at: u64,
    /// The session that doesn't get it.
    pub except: Option<SessionId>,
    /// Whether it isn't kept in the history.
    pub is_transient: bool,
}

/// How a subscriber's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Time at which it was noticed.
    pub at: Instant,
    /// Time since which the delivery of presence events is unconfirmed; `None` if all are confirmed.
    pub unacked_since: Option<Instant>,
    /// What it was granted, if its session can be resumed.
    pub grant: Option<Grant>,
    /// TTL of its record in seconds, if that isn't the shard's.
    pub ttl: Option<NonZero<u32>>,
}

impl End {
    /// An end without resume.
    pub const fn at(at: Instant) -> Self {
        Self { at, unacked_since: None, grant: None, ttl: None }
    }
}
