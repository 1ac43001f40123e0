//! Settings of the shards under test.

use std::time::Duration;

use broker::log::LogId;
use broker::shard::{HistorySettings, ResumeSettings, Settings};

/// A shard that refuses nothing, keeps no publications and lets nobody resume.
pub(crate) const fn without_history(presence_ttl: Duration) -> Settings {
    Settings {
        presence_ttl,
        occupancy_interval: Duration::from_secs(1),
        resume: ResumeSettings { ttl: Duration::ZERO, max_unacked: Duration::ZERO },
        max_members: usize::MAX,
        max_records: usize::MAX,
        max_answer: usize::MAX,
        history: HistorySettings { limit: 0, ttl: Duration::from_secs(1), max_bytes: 0 },
        log: LogId(0),
    }
}
