//! What happened to a stream, in the order it happened: applied to what was known of the stream
//! before, it yields what is known after.

use std::sync::Arc;

use crate::types::{
    Codec, Epoch, Extra, Grant, Identifier, Offset, PresenceId, Publication, RawJson, SessionId,
    StreamName, Watch,
};

/// One change of one stream. A stream's changes from a [`Change::Began`] on are all there is to
/// know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The stream begins, or all that was known of it is replaced by what follows.
    Began {
        /// The stream.
        stream: StreamName,
        /// The lifetime of its history.
        epoch: Epoch,
        /// The position of its newest publication, kept or not; 0 if there was none.
        head: Offset,
        /// When its newest publication that isn't kept was made, in milliseconds of the Unix
        /// epoch; 0 if all are kept.
        lost: u64,
    },
    /// Nothing of the stream is left.
    Forgotten {
        /// The stream.
        stream: StreamName,
        /// As in [`Change::Began`], of all its publications.
        lost: u64,
    },
    /// A message was published and is kept.
    Published(Arc<Publication>),
    /// A session follows the stream.
    Subscribed {
        /// The stream.
        stream: StreamName,
        /// The session.
        session: SessionId,
        /// What its connection speaks.
        codec: Codec,
        /// What it is told about presence.
        watch: Watch,
        /// Its key for the subscription.
        identifier: Identifier,
        /// What it may do, and whom it was given to.
        grant: Grant,
    },
    /// A session no longer follows the stream. Its record, if it had one, has a
    /// [`Change::Left`] of its own.
    Unsubscribed {
        /// The stream.
        stream: StreamName,
        /// The session.
        session: SessionId,
        /// Its key for the subscription.
        identifier: Identifier,
    },
    /// A subscription's record was added, or has another info.
    Joined {
        /// The stream.
        stream: StreamName,
        /// The session.
        session: SessionId,
        /// Its key for the subscription.
        identifier: Identifier,
        /// Who is present.
        id: PresenceId,
        /// What others see of them.
        info: RawJson,
        /// What the application says of them.
        extra: Extra,
    },
    /// A subscription's record is gone.
    Left {
        /// The stream.
        stream: StreamName,
        /// The session.
        session: SessionId,
        /// Its key for the subscription.
        identifier: Identifier,
    },
    /// A subscription, and its record if it has one, moved to another session.
    Resumed {
        /// The stream.
        stream: StreamName,
        /// The key for the subscription, the same in both sessions.
        identifier: Identifier,
        /// The session that had it.
        from: SessionId,
        /// The session that has it now.
        to: SessionId,
    },
    /// The application put a record of its own, or another info or time into it.
    Put {
        /// The stream.
        stream: StreamName,
        /// Who is present.
        id: PresenceId,
        /// What others see of them.
        info: RawJson,
        /// What the application says of them.
        extra: Extra,
        /// When it goes, in milliseconds of the Unix epoch; if it does by itself.
        until: Option<u64>,
    },
    /// The application's record of a presence id is gone.
    Withdrawn {
        /// The stream.
        stream: StreamName,
        /// Who was present.
        id: PresenceId,
    },
    /// The stream's journal has dropped changes of members that somebody who is away may have
    /// missed.
    JournalTruncated {
        /// The stream.
        stream: StreamName,
    },
    /// A member left lately.
    Gone {
        /// The stream.
        stream: StreamName,
        /// Who.
        id: PresenceId,
    },
}

impl Change {
    /// The stream that changed.
    pub fn stream(&self) -> &StreamName {
        match self {
            Self::Published(publication) => &publication.stream,
            Self::Began { stream, .. }
            | Self::Forgotten { stream, .. }
            | Self::Subscribed { stream, .. }
            | Self::Unsubscribed { stream, .. }
            | Self::Joined { stream, .. }
            | Self::Left { stream, .. }
            | Self::Resumed { stream, .. }
            | Self::Put { stream, .. }
            | Self::Withdrawn { stream, .. }
            | Self::JournalTruncated { stream }
            | Self::Gone { stream, .. } => stream,
        }
    }
}
