//! Manifests of snapshots.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::settlement::Branch;
use crate::log::LogId;

/// What a snapshot is. It is complete: its parts were written before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Identity of the log.
    pub(super) log: u64,
    /// Cursor of the last batch in it.
    pub(super) at: u64,
    /// Name of the branch of the log that this is in.
    pub(super) branch: u64,
    /// Sequence number of the last message in it.
    pub(super) sequence: u64,
    /// What the subject of its parts ends with.
    pub(super) name: String,
    /// For each chunk, the sequence numbers of its parts.
    pub(super) chunks: Vec<Vec<u64>>,
    /// No batch behind the snapshot has a part with a smaller sequence number.
    pub(super) floor: u64,
    /// Sequence number before which the log may have been trimmed. What is missing behind it, nobody has trimmed.
    #[serde(default = "unknown")]
    pub(super) trimmed: u64,
}

/// It isn't known how far the log was trimmed.
const fn unknown() -> u64 {
    u64::MAX
}

impl Manifest {
    /// Whether it is of a branch of a log.
    pub(super) fn is_of(&self, log: LogId, branch: &Branch) -> bool {
        self.log == log.0 && self.branch == branch.name
    }

    /// From a message; `None`: no broker has written it.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message).ok()
    }

    pub(super) fn write(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into() // numbers and text can't fail
    }
}
