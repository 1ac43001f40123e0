//! Counts what happens to a partition's log, for the metrics of a cluster.

use std::sync::Arc;
use std::time::Instant;

use super::cluster::Cluster;
use super::encoding::EncodingError;
use crate::clock::Clock;
use crate::cluster::Refused;
use crate::telemetry::BatchRefusal;

/// Counts what happens to a partition's log.
#[derive(Debug)]
pub(super) struct LogMeter {
    cluster: Arc<Cluster>,
    clock: Arc<Clock>,
    /// The batch on its way.
    sent: Option<Sent>,
    /// Bytes of the log since its last snapshot, as last exported.
    log_bytes: u64,
    /// Bytes of the snapshot, likewise.
    snapshot_bytes: u64,
}

/// When a batch was given to the engine.
#[derive(Clone, Copy, Debug)]
struct Sent {
    first: Instant,
    last: Instant,
}

/// Measures the time in which a snapshot is written.
#[derive(Debug)]
pub(super) struct SnapshotTimer {
    cluster: Arc<Cluster>,
    clock: Arc<Clock>,
    begun: Instant,
}

impl LogMeter {
    /// Of a log that is about to be read.
    pub(super) fn new(cluster: &Arc<Cluster>, clock: &Arc<Clock>) -> Self {
        let (cluster, clock) = (Arc::clone(cluster), Arc::clone(clock));
        Self { cluster, clock, sent: None, log_bytes: 0, snapshot_bytes: 0 }
    }

    /// The snapshot was read.
    pub(super) fn restored(&mut self, bytes: u64) {
        self.cluster.catch_up.note_snapshot(bytes);
        self.set_snapshot_bytes(bytes);
    }

    /// A batch is given to the engine.
    pub(super) fn append(&mut self, items: usize, bytes: usize) {
        let now = self.clock.now();
        let first = self.sent.map_or(now, |sent| sent.first);
        self.sent = Some(Sent { first, last: now });
        let instruments = &self.cluster.instruments;
        instruments.batch_entries.record(number(items));
        instruments.batch_bytes.record(number(bytes));
    }

    /// A batch was applied after the start, which the engine took at `at`; `is_own` says whether this node appended it.
    pub(super) fn applied(&mut self, at: u64, is_own: bool, now: Instant) {
        let Cluster { instruments, engine_time, .. } = &*self.cluster;
        if let Some(Sent { first, last }) = self.sent.take_if(|_| is_own) {
            instruments.append.record(now.saturating_duration_since(first));
            engine_time.note_return(at, last, now);
        }
        if let Some(lag) = engine_time.since(at, now) {
            instruments.tail_lag.record(lag);
        }
    }

    /// A batch was skipped.
    pub(super) fn refused(&self, reason: Refused) {
        self.cluster.instruments.refused_batches.increment(match reason {
            Refused::Gone => BatchRefusal::Gone,
            Refused::Again => BatchRefusal::Again,
            Refused::Missing { .. } => BatchRefusal::Missing,
            Refused::Rules(_) | Refused::Unknown(_) => BatchRefusal::Rules,
        });
    }

    /// Something was skipped that is no batch of this log.
    pub(super) fn skipped(&self, error: EncodingError) {
        self.cluster.instruments.refused_batches.increment(match error {
            EncodingError::Forged => BatchRefusal::Forged,
            EncodingError::Format(_) | EncodingError::Damaged => BatchRefusal::Unreadable,
            EncodingError::Rules(_) => BatchRefusal::Rules,
        });
    }

    /// Size of the log since its last snapshot. If it has shrunk, a node has written one.
    pub(super) fn set_log_bytes(&mut self, is: u64) {
        let was = std::mem::replace(&mut self.log_bytes, is);
        if is != was {
            self.cluster.instruments.log_bytes.increment(difference(is, was));
        }
        if is < was {
            self.cluster.note_snapshot_time(&self.clock);
        }
    }

    /// Size of the snapshot that was read or written last.
    pub(super) fn set_snapshot_bytes(&mut self, is: u64) {
        let was = std::mem::replace(&mut self.snapshot_bytes, is);
        self.cluster.instruments.snapshot_bytes.increment(difference(is, was));
    }

    /// A snapshot is being written from now on.
    pub(super) fn time_snapshot(&self) -> SnapshotTimer {
        let (cluster, clock) = (Arc::clone(&self.cluster), Arc::clone(&self.clock));
        SnapshotTimer { begun: clock.now(), cluster, clock }
    }
}

impl SnapshotTimer {
    /// The engine has the snapshot, or it couldn't be written.
    pub(super) fn stop(self, is_written: bool) {
        let Self { cluster, clock, begun } = self;
        if is_written {
            let took = clock.now().saturating_duration_since(begun);
            cluster.instruments.snapshot_duration.record(took);
            cluster.note_snapshot_time(&clock);
        } else {
            cluster.instruments.snapshot_failures.increment(1);
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats, and far from 2^52")]
fn difference(is: u64, was: u64) -> f64 {
    is as f64 - was as f64
}
