//! Manifests of snapshots.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a snapshot is. It is complete: its parts were written before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Identity of the log.
    pub(super) log: u64,
    /// Cursor of the last batch in it.
    pub(super) at: u64,
    /// What the subject of its parts ends with.
    pub(super) name: String,
    /// For each chunk, the sequence numbers of its parts.
    pub(super) chunks: Vec<Vec<u64>>,
    /// No batch behind the snapshot has a part with a smaller sequence number.
    pub(super) floor: u64,
}

impl Manifest {
    /// From a message; `None`: no broker has written it.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message).ok()
    }

    pub(super) fn write(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into() // numbers and text can't fail
    }
}
