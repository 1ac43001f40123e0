//! What the followers and the supervisor tell each other.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the followers and the supervisor tell each other.
#[derive(Debug, Default)]
pub(super) struct Notices {
    put_back: AtomicU64,
    losses: AtomicU64,
}

impl Notices {
    /// This node has put a log back.
    pub(super) fn note_put_back(&self) {
        self.put_back.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of logs that this node has put back since the last call.
    pub(super) fn take_put_back(&self) -> u64 {
        self.put_back.swap(0, Ordering::Relaxed)
    }

    /// Snapshots may have been lost.
    pub(super) fn note_loss(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often snapshots may have been lost.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }
}
