//! What holds for a shard that nobody has configured.

use broker::config::defaults;
use broker::log::LogId;
use broker::shard::{HistorySettings, ResumeSettings, Settings};

/// The settings of a broker without arguments, but that it takes as many members as there are.
pub(crate) fn settings() -> Settings {
    Settings {
        presence_ttl: defaults::PRESENCE_TTL,
        resume: ResumeSettings {
            ttl: defaults::SESSIONS_TTL,
            max_unacked: defaults::LIVENESS_TIMEOUT,
        },
        max_members: usize::MAX,
        max_records: usize::MAX,
        max_answer: defaults::MAX_ANSWER_SIZE,
        occupancy_interval: defaults::OCCUPANCY_INTERVAL,
        history: HistorySettings {
            limit: defaults::HISTORY_LIMIT,
            ttl: defaults::HISTORY_TTL,
            max_bytes: defaults::HISTORY_MAX_BYTES,
        },
        log: LogId(0),
    }
}
