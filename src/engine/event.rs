//! Events of a partition's log, for its worker.

use bytes::Bytes;

/// Place of a batch in its partition's log: from 1. In NATS, there may be gaps, where a message is no batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub u64);

/// An event of a partition's log. A worker gets them in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next batch of the log.
    Batch {
        /// Its place.
        cursor: Cursor,
        /// The engine's time at which it was appended, in milliseconds of the Unix epoch.
        at: u64,
        /// The batch, as it was appended.
        batch: Bytes,
    },
    /// All that the log had when following began has been delivered. Once for each
    /// [`PartitionLog::follow`](super::PartitionLog::follow).
    CaughtUp,
    /// The append wasn't confirmed: it may be in the log or not. Append it again.
    AppendFailed,
    /// The engine has lost what was delivered here: give it the state as of the last delivered batch, by
    /// [`PartitionLog::give_state`](super::PartitionLog::give_state). Until then, nothing more is delivered.
    StateWanted,
    /// The log doesn't go on from what was delivered. Nothing more is delivered or appended until
    /// [`PartitionLog::follow`](super::PartitionLog::follow) is called.
    Lost(LostReason),
}

/// Why a log doesn't go on from what was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    /// The engine has no such log: it was emptied, or has restarted without its data.
    #[error("the engine doesn't have the log")]
    Missing,
    /// The engine has another log in its place.
    #[error("the engine has another log in its place")]
    Replaced,
    /// The log ends before what was delivered.
    #[error("the log ends before what was delivered")]
    Shorter,
    /// The log has another batch where the last delivered one was.
    #[error("the log has another batch where the last delivered one was")]
    Forked,
    /// The log has neither the last delivered batch nor the one behind it.
    #[error("the log begins behind what was delivered")]
    Trimmed,
}
