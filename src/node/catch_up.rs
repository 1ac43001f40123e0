//! What a node reads when it starts, for its log.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts what is read until the node is up to date.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// When the first partition began.
    begun: OnceLock<Instant>,
    /// Other nodes, as the log with the beats has them.
    others: AtomicUsize,
    snapshots: AtomicU64,
    batches: AtomicU64,
    bytes: AtomicU64,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Other nodes in the log.
    pub(super) others: usize,
    pub(super) snapshots: u64,
    pub(super) batches: u64,
    /// Bytes of both.
    pub(super) bytes: u64,
    /// The time that it took, in whole milliseconds.
    pub(super) took: Duration,
}

impl CatchUp {
    /// A partition begins to read.
    pub(super) fn begin(&self, now: Instant) {
        self.begun.get_or_init(|| now);
    }

    /// A snapshot was read.
    pub(super) fn note_snapshot(&self, bytes: u64) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A batch was read.
    pub(super) fn note_batch(&self, bytes: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The log with the beats was read.
    pub(super) fn note_others(&self, nodes: usize) {
        self.others.store(nodes, Ordering::Relaxed);
    }

    /// All that was read.
    pub(super) fn read(&self, now: Instant) -> Read {
        let begun = self.begun.get().copied().unwrap_or(now);
        let took = now.saturating_duration_since(begun).as_millis();
        Read {
            others: self.others.load(Ordering::Relaxed),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            took: Duration::from_millis(u64::try_from(took).unwrap_or(u64::MAX)),
        }
    }
}
