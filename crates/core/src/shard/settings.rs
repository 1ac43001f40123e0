//! Settings of a shard.

use std::time::Duration;

use crate::log::LogId;
use crate::stream::HistorySettings;
use crate::types::Codec;

/// Settings of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time for which records outlive their connection.
    pub presence_ttl: Duration,
    /// How sessions are resumed.
    pub resume: ResumeSettings,
    /// Maximum of members of a stream.
    pub max_members: usize,
    /// Maximum of records of a client, over all streams.
    pub max_records: usize,
    /// Maximum of bytes of ids, infos or payloads in one reply, which may have to wait in memory for a slow
    /// client.
    pub max_answer: usize,
    /// Minimum time between two occupancy messages of a stream.
    pub occupancy_interval: Duration,
    /// Limits of histories.
    pub history: HistorySettings,
    /// The log that the shard's entries belong to: references and epochs are named after it.
    pub log: LogId,
}

/// Settings of resumable subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeSettings {
    /// Time for which they outlive their connection; zero turns resuming off.
    pub ttl: Duration,
    /// Maximum time for which the delivery of a presence event is unconfirmed: a connection that lost it has
    /// ended by then.
    pub max_unacked: Duration,
}

impl ResumeSettings {
    /// Whether subscriptions of clients of a codec can be resumed.
    pub(super) fn is_for(self, codec: Codec) -> bool {
        codec.resumes() && !self.ttl.is_zero()
    }
}
