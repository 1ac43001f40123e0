//! What happens to streams.

use std::sync::Arc;
use std::time::Instant;

use crate::log::Subscription;
use crate::types::{GroupKey, Labels, RawJson, Reference, SessionId, StreamCommand};

/// Who a subscriber is within its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriberKey {
    /// The session.
    pub session: SessionId,
    /// Whose words it is told in.
    pub group: GroupKey,
}

impl SubscriberKey {
    /// The same, for the log.
    pub(crate) fn subscription(&self) -> Subscription {
        Subscription { session: self.session, identifier: self.group.identifier.clone() }
    }
}

/// Something that happens to a stream.
#[derive(Debug)]
pub enum Input<R> {
    /// A client's command.
    Command {
        /// Whose.
        key: SubscriberKey,
        /// Where the answers go.
        recipient: R,
        /// What it asks.
        command: StreamCommand,
        /// By what the client knows the answer, if by anything.
        reference: Option<Arc<Reference>>,
    },
    /// A subscriber's connection ended. Take the replies before it is given: what the subscriber
    /// didn't get of them is in doubt.
    Ended {
        /// Whose.
        key: SubscriberKey,
        /// How.
        end: End,
    },
    /// The application published a message.
    Publish {
        /// The payload.
        data: RawJson,
        /// How clients are to take it, if that was said.
        labels: Labels,
        /// When it was accepted, in milliseconds of the Unix epoch.
        at: u64,
        /// The session that isn't told.
        except: Option<SessionId>,
        /// Whether it is told live and not kept.
        is_transient: bool,
    },
}

/// How a subscriber's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When that was noticed.
    pub at: Instant,
    /// Since when it isn't sure that presence events arrived; `None` if all have.
    pub doubt: Option<Instant>,
    /// Whether its session can be resumed.
    pub resumable: bool,
}

impl End {
    /// An end for good.
    pub const fn at(at: Instant) -> Self {
        Self { at, doubt: None, resumable: false }
    }
}
