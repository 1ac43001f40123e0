//! What connecting to an engine yields.

use super::partition_log::PartitionLog;
use crate::log::LogId;

/// A cluster's logs. The partition is the index.
#[derive(Debug)]
pub struct Opened {
    /// Identities of the logs.
    pub log_ids: Vec<LogId>,
    /// Access to the logs.
    pub logs: Vec<PartitionLog>,
}
