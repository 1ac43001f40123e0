//! What happens to streams.

use std::time::Instant;

use crate::types::{Codec, Identifier, RawJson, SessionId, StreamCommand};

/// Who a subscriber is within its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberKey {
    /// The session.
    pub session: SessionId,
    /// Whose words it is told in.
    pub group: GroupKey,
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
    },
    /// A subscriber's connection ended.
    Ended {
        /// Whose.
        key: SubscriberKey,
        /// When that was noticed.
        at: Instant,
    },
    /// The application published a message.
    Publish {
        /// The payload.
        data: RawJson,
        /// When it was accepted, in milliseconds of the Unix epoch.
        at: u64,
        /// The session that isn't told.
        except: Option<SessionId>,
    },
}

/// What makes subscribers of a stream a group: they are told the same in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// What they speak.
    pub codec: Codec,
    /// Their name for the subscription.
    pub identifier: Identifier,
}
