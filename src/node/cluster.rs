//! What the partitions of a node know together.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::catch_up::CatchUp;
use super::encoding::LogEncoding;
use super::engine_time::EngineTime;
use super::job::Job;
use super::log_time::LogTime;
use super::parked::Parked;
use super::skipped::Skipped;
use crate::auth::ClusterSecret;
use crate::clock::Clock;
use crate::cluster::{Heard, Reading, Rules, TakenSession, beat_interval};
use crate::engine::{LostReason, Nodes};
use crate::log::{LogId, NodeId, Position};
use crate::telemetry::{ClusterInstruments, NodeState};

/// What this node may be asked by the others and has yet to begin with. More waits in a task each.
const ASKS: usize = 1024;

/// Names of a cluster, for the log.
#[derive(Clone, Debug)]
pub struct ClusterNames {
    /// The engine.
    pub engine: &'static str,
    /// The cluster.
    pub cluster: String,
}

/// The node that this process is.
#[derive(Clone, Copy, Debug)]
pub struct OwnNode {
    /// Now.
    pub now: NodeId,
    /// Before it began again. That one is gone.
    pub before: Option<NodeId>,
}

/// Why the process may have to end.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Cancelled when it can't go on.
    pub failed: CancellationToken,
    /// Cancelled when a log has gone on without what this node was told there: it has to begin again.
    pub lost: CancellationToken,
}

/// This node among the others.
#[derive(Debug)]
pub struct Cluster {
    names: ClusterNames,
    /// This node.
    pub node: NodeId,
    /// The one that its process was before.
    before: Option<NodeId>,
    /// How long a silent node counts as there.
    pub lease: Duration,
    /// The nodes there are, for the engine.
    pub nodes: Arc<Nodes>,
    /// Maximum time that a request waits for the engine.
    pub patience: Duration,
    /// Number of partitions.
    pub partitions: usize,
    /// The secret that all nodes share, if they have one.
    secret: Option<ClusterSecret>,
    /// Memory of all kept publications, in bytes.
    history: AtomicUsize,
    /// How many of them are up to date.
    current: AtomicUsize,
    /// How far the log of each is read.
    read: Vec<AtomicU64>,
    /// What this node is asked by the others, and by itself, and who does it.
    asks: mpsc::Sender<Heard>,
    asked: Mutex<Option<mpsc::Receiver<Heard>>>,
    /// Sessions that this node has taken over: the application is yet to be told their ends.
    taken: Mutex<Vec<TakenSession>>,
    /// The nodes as last announced.
    members: Mutex<Arc<BTreeSet<NodeId>>>,
    /// The parked sessions of all nodes.
    pub(super) parked: Parked,
    /// Whether this node's first beat is in the log: it may be missed from then on.
    has_beaten: AtomicBool,
    /// How many of them have said that this node stops.
    left: AtomicUsize,
    /// All but the one with the beats have.
    others_left: Notify,
    pub(super) time: LogTime,
    pub(super) engine_time: EngineTime,
    pub(super) catch_up: CatchUp,
    pub(super) instruments: ClusterInstruments,
    pub(super) skipped: Skipped,
    /// How often the nodes were announced.
    announced: AtomicU64,
    /// The rules of the log that has the beats; 0 if they aren't known.
    rules: AtomicU16,
    /// Whether a newer version has written what this node doesn't understand.
    is_outdated: AtomicBool,
    /// Cancelled when it has.
    pub outdated: CancellationToken,
    workers: OnceLock<Vec<mpsc::WeakSender<Job>>>,
    /// Whether a log goes on without what this node has.
    is_lost: AtomicBool,
    ends: Ends,
}

impl Cluster {
    /// A node that isn't up to date.
    pub fn new(
        (names, secret): (ClusterNames, Option<ClusterSecret>),
        OwnNode { now: node, before }: OwnNode,
        (lease, patience): (Duration, Duration),
        partitions: usize,
        clock: &Clock,
        ends: Ends,
    ) -> Arc<Self> {
        let now = clock.now();
        let (asks, asked) = mpsc::channel(ASKS);
        let cluster = Self {
            names,
            node,
            before,
            lease,
            nodes: Nodes::new(node, lease),
            patience,
            partitions,
            secret,
            history: AtomicUsize::new(0),
            current: AtomicUsize::new(0),
            read: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
            asks,
            asked: Mutex::new(Some(asked)),
            taken: Mutex::default(),
            members: Mutex::default(),
            parked: Parked::default(),
            has_beaten: AtomicBool::new(false),
            left: AtomicUsize::new(0),
            others_left: Notify::new(),
            time: LogTime::new(beat_interval(lease)),
            engine_time: EngineTime::new(now),
            catch_up: CatchUp::default(),
            instruments: ClusterInstruments::new(),
            skipped: Skipped::default(),
            announced: AtomicU64::new(0),
            rules: AtomicU16::new(0),
            is_outdated: AtomicBool::new(false),
            outdated: CancellationToken::new(),
            workers: OnceLock::new(),
            is_lost: AtomicBool::new(false),
            ends,
        };
        cluster.note_snapshot_time(clock); // none is overdue
        Arc::new(cluster)
    }

    /// Whether all partitions are up to date, and the engine was heard within a lease.
    pub fn is_current(&self, now: Instant) -> bool {
        self.state(now) == NodeState::Current
    }

    /// What this node does, unless it stops.
    pub fn state(&self, now: Instant) -> NodeState {
        if self.is_outdated() {
            NodeState::Outdated
        } else if self.current.load(Ordering::Acquire) < self.partitions {
            NodeState::CatchingUp
        } else if self.time.silence(now) < self.lease {
            NodeState::Current
        } else {
            NodeState::Behind
        }
    }

    /// Exports a state.
    pub fn export(&self, state: NodeState) {
        self.instruments.set_state(state);
    }

    /// A node has written a snapshot.
    pub(super) fn note_snapshot_time(&self, clock: &Clock) {
        self.instruments.snapshot_time.set(clock.unix());
    }

    /// The encoding of a partition's log.
    pub(super) fn encoding(&self, partition: usize, log: LogId) -> LogEncoding {
        LogEncoding::of(self.secret.as_ref(), u16::try_from(partition).unwrap_or(u16::MAX), log)
    }

    /// Whether this node's first beat is in the log.
    pub(super) fn has_beaten(&self) -> bool {
        self.has_beaten.load(Ordering::Acquire)
    }

    /// The queues of the partitions' workers.
    pub(super) fn set_workers(&self, workers: &[mpsc::Sender<Job>]) {
        let workers = workers.iter().map(mpsc::Sender::downgrade).collect();
        self.workers.set(workers).ok(); // once, at the start
    }

    /// A partition's kept publications take so much more memory, or less; returns how much all take.
    pub(super) fn note_history(&self, was: usize, is: usize) -> usize {
        let change = is.wrapping_sub(was);
        self.history.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }

    /// A partition's log is read up to a position.
    pub(super) fn note_read(&self, partition: usize, position: Position) {
        if let Some(read) = self.read.get(partition) {
            read.store(position.0, Ordering::Release);
        }
    }

    /// How far the partitions' logs are read.
    pub(super) fn reading(&self) -> Reading {
        (0..)
            .zip(&self.read)
            .map(|(at, read)| (at, Position(read.load(Ordering::Acquire))))
            .collect()
    }

    /// This node is asked to do something.
    pub(super) fn hear(&self, heard: Heard) {
        if let Err(TrySendError::Full(heard)) = self.asks.try_send(heard) {
            let asks = self.asks.clone();
            tokio::spawn(async move { asks.send(heard).await });
        }
    }

    /// What this node is asked to do. `None` after the first call.
    pub fn take_asked(&self) -> Option<mpsc::Receiver<Heard>> {
        self.asked.lock().take()
    }

    /// This node has taken over a session.
    pub(super) fn take_session(&self, taken: TakenSession) {
        self.taken.lock().push(taken);
    }

    /// The sessions that this node has taken over since the last call.
    pub fn take_taken(&self) -> Vec<TakenSession> {
        std::mem::take(&mut self.taken.lock())
    }

    /// One more partition is up to date.
    pub(super) fn note_current(&self, now: Instant) {
        if self.current.fetch_add(1, Ordering::AcqRel) + 1 == self.partitions {
            let ClusterNames { engine, cluster } = &self.names;
            let read = self.catch_up.read(now);
            tracing::info!(
                engine,
                cluster,
                node = %self.node,
                members = read.others + 1,
                partitions = self.partitions,
                snapshots = read.snapshots,
                batches = read.batches,
                bytes = read.bytes,
                took = %humantime::format_duration(read.took),
                "up to date"
            );
        }
    }

    /// One more partition has said that this node stops.
    pub(super) fn note_left(&self) {
        if self.left.fetch_add(1, Ordering::AcqRel) + 2 == self.partitions {
            self.others_left.notify_one();
        }
    }

    /// Waits until all partitions but one have said that this node stops.
    pub(super) async fn others_left(&self) {
        if self.partitions > 1 {
            self.others_left.notified().await;
        }
    }

    /// This node can't go on.
    pub(super) fn fail(&self) {
        self.ends.failed.cancel();
    }

    /// The log of a partition goes on without what this node has: it has to begin again. The reason is logged first, since
    /// what follows is logged by another thread.
    pub(super) fn lose(&self, partition: usize, reason: LostReason) {
        if !self.is_lost.swap(true, Ordering::AcqRel) {
            tracing::error!(partition, %reason, "the log is lost");
            self.ends.lost.cancel();
        }
    }

    /// How often this process has begun again.
    pub fn note_losses(&self, times: u64) {
        self.instruments.divergences.increment(times);
    }

    /// Whether this process was a node before it began again.
    pub(super) fn was(&self, node: NodeId) -> bool {
        self.before == Some(node)
    }

    /// A newer version has written what this node doesn't understand: it serves nobody, and waits to be replaced.
    pub(super) fn outdate(&self, partition: usize, reason: &dyn fmt::Display) {
        if !self.is_outdated.swap(true, Ordering::AcqRel) {
            tracing::error!(partition, "{reason}");
            self.outdated.cancel();
        }
    }

    /// Whether it does so.
    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }

    /// The log with the beats is applied by these rules.
    pub(super) fn note_rules(&self, rules: Option<Rules>) {
        let number = rules.map_or(0, |rules| rules.0);
        if self.rules.swap(number, Ordering::AcqRel) != number {
            self.instruments.rules.set(number);
        }
    }

    /// The rules by which the log with the beats is applied, if they are known.
    pub(super) fn rules(&self) -> Option<Rules> {
        Some(Rules(self.rules.load(Ordering::Acquire))).filter(|rules| rules.0 > 0)
    }

    /// Whether a node is there, as far as this one knows.
    pub(super) fn is_member(&self, node: NodeId) -> bool {
        self.members.lock().contains(&node)
    }

    /// Tells the other partitions' workers which nodes there are. A list with a higher number is a later one.
    pub(super) fn announce(&self, members: &Arc<BTreeSet<NodeId>>) {
        self.instruments.members.set(u32::try_from(members.len()).unwrap_or(u32::MAX));
        self.nodes.set_members(members);
        if members.contains(&self.node) {
            self.has_beaten.store(true, Ordering::Release);
        }
        self.members.lock().clone_from(members);
        let number = self.announced.fetch_add(1, Ordering::Relaxed) + 1;
        let workers = self.workers.get().into_iter().flatten();
        // whose partition it is that has the beats knows
        for worker in workers.skip(1).filter_map(mpsc::WeakSender::upgrade) {
            let job = Job::Members { number, members: Arc::clone(members) };
            if let Err(TrySendError::Full(job)) = worker.try_send(job) {
                tokio::spawn(async move { worker.send(job).await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Whether the node had to begin again already, at each log line.
    #[derive(Clone, Default)]
    struct Lines {
        ends: Ends,
        was_lost: Arc<Mutex<Vec<bool>>>,
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.was_lost.lock().push(self.ends.lost.is_cancelled());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_loss_is_logged_once_and_before_the_node_begins_again() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let names = ClusterNames { engine: "test", cluster: "test".to_owned() };
        let node = OwnNode { now: NodeId(1), before: None };
        let times = (Duration::from_secs(1), Duration::from_secs(1));
        let cluster =
            Cluster::new((names, None), node, times, 3, &Clock::new(), lines.ends.clone());
        for partition in 0..3 {
            cluster.lose(partition, LostReason::Trimmed);
            assert!(lines.ends.lost.is_cancelled());
        }
        assert_eq!(*lines.was_lost.lock(), [false]);
    }
}
