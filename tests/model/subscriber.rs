//! A plain subscriber of a stream.

use broker::protocol::action_cable;
use broker::shard::{GroupKey, SubscriberKey};
use broker::types::{Grant, Join, SessionId, StreamCommand, Subscribe, SubscribeOptions};

/// The only subscription of an Action Cable session.
pub(crate) fn key(session: impl Into<u128>) -> SubscriberKey {
    let group = GroupKey::new(action_cable::CODEC, "\"a\"".into());
    SubscriberKey { session: SessionId::from_bits(session.into()), group }
}

/// Subscribes with every right, and joins if so wanted.
pub(crate) fn subscribe(join: Option<Join>) -> StreamCommand {
    let (join, history, options) = (join.map(Ok), None, SubscribeOptions::default());
    StreamCommand::from(Subscribe { join, history, grant: Grant::OPEN, options })
}
