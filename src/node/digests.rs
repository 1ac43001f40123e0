//! Digests of a partition: when this node proposes one, and what comes of comparing those of the others with its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::cluster::{Compared, Partition};
use crate::log::Position;
use crate::outbound::Recipient;
use crate::telemetry::Comparison;

/// Leases between two digests of a partition: a minute, with the default.
const LEASES: u32 = 6;

/// Time between two log lines about a partition that differs.
const QUIET: Duration = Duration::from_secs(600);

/// The digests of a partition.
#[derive(Debug)]
pub(super) struct Digests {
    partition: usize,
    cluster: Arc<Cluster>,
    /// The last one that was applied.
    last: Position,
    /// When the partition's first node proposes the next one.
    due: Option<Instant>,
    /// When a difference was logged last.
    logged: Option<Instant>,
}

impl Digests {
    pub(super) fn new(partition: usize, cluster: &Arc<Cluster>) -> Self {
        let cluster = Arc::clone(cluster);
        Self { partition, cluster, last: Position::default(), due: None, logged: None }
    }

    /// Begins to propose. Partitions do so one after the other.
    pub(super) fn begin(&mut self, now: Instant) {
        let place = u32::try_from(self.partition).unwrap_or_default() + 1;
        let partitions = u32::try_from(self.cluster.partitions).unwrap_or(u32::MAX);
        self.due = Some(now + self.interval() * place / partitions.max(1));
    }

    /// When this node proposes the next one: later than those before it, so that it does so only if they don't.
    pub(super) fn poll_timeout(&self, rank: u32) -> Option<Instant> {
        self.due.map(|due| due + self.interval() / 2 * rank.min(LEASES))
    }

    /// Proposes one, if it is time.
    pub(super) fn handle_timeout(
        &mut self,
        partition: &mut Partition<Recipient>,
        rank: u32,
        now: Instant,
    ) {
        if self.poll_timeout(rank).is_some_and(|due| due <= now) {
            self.due = Some(now + self.interval());
            partition.propose_digest();
        }
    }

    /// Looks at what was applied.
    pub(super) fn note(&mut self, partition: &mut Partition<Recipient>, now: Instant) {
        let last = partition.last_digest();
        if std::mem::replace(&mut self.last, last) == last {
            return;
        }
        self.due = self.due.map(|_| now + self.interval());
        for compared in partition.take_compared() {
            self.count(&compared, now);
        }
    }

    fn count(&mut self, compared: &Compared, now: Instant) {
        let digests = &self.cluster.instruments.digests;
        if compared.is_equal() {
            return digests.increment(Comparison::Equal);
        }
        digests.increment(Comparison::Different);
        if self.logged.is_none_or(|at| now >= at + QUIET) {
            self.logged = Some(now);
            let Compared { by, theirs, ours } = compared;
            tracing::error!(
                partition = self.partition,
                position = theirs.of.0,
                node = %by,
                theirs = format_args!("{:016x}", theirs.hash),
                ours = format_args!("{ours:016x}"),
                "another node doesn't have what this one has"
            );
        }
    }

    fn interval(&self) -> Duration {
        self.cluster.lease * LEASES
    }
}
