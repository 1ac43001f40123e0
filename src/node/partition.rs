//! A partition on this node: its streams, and its log at the engine.
//!
//! ```text
//! inputs ─▶ Partition ─▶ a batch ─▶ PartitionLog ─▶ engine
//!              ▲                                       │
//!              └────────── events, in order ◀──────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::asks::{Asks, Readers};
use super::cluster::Cluster;
use super::digests::Digests;
use super::encoding::{self, EncodingError, LogEncoding, LogEntry, SnapshotEncoder};
use super::job::{Job, SessionAnswer};
use super::known::Known;
use super::log_meter::{LogMeter, SnapshotTimer};
use crate::clock::Clock;
use crate::cluster::{Answer, Ask, AskId, ForkId, Item, KnownRules, Partition, Refused};
use crate::engine::{Cursor, Event, PartitionLog};
use crate::log::{NodeId, Position, SessionChange};
use crate::outbound::Recipient;
use crate::shard::{Settings, Shard};

/// Inputs that wait for their entries, at most: then no more are taken.
const MAX_WAITING: usize = 4096;

/// Events taken from the log at a time.
const EVENTS_A_TURN: usize = 64;

/// Bytes of a partition's log from which on a snapshot is worth it: 16 MiB for all.
const SNAPSHOT_BYTES: u64 = 256 * 1024;

/// Minimum time between two snapshots of a partition. The log is trimmed up to the one before if that was the
/// newest for a minute: who has read it still needs the log behind it.
const BETWEEN_SNAPSHOTS: Duration = Duration::from_secs(65);

/// Entries of a snapshot written before other tasks get their turn.
const ENTRIES_A_TURN: usize = 1024;

/// Time after which a snapshot is read again that couldn't be.
const RETRY: Duration = Duration::from_secs(1);

/// A snapshot that is being written.
#[derive(Debug)]
struct Snapshot {
    /// The next stream.
    place: usize,
    chunks: Vec<Bytes>,
    encoder: SnapshotEncoder,
    timer: SnapshotTimer,
}

/// The partition that has the nodes' beats.
const WITH_BEATS: usize = 0;

/// How far a partition is with its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has yet to apply what was there at the start.
    CatchingUp,
    Current,
    /// The log has gone on without what was applied here.
    Lost,
}

#[derive(Debug)]
pub(super) struct PartitionReplica {
    pub(super) number: usize,
    pub(super) partition: Partition<Recipient>,
    log: PartitionLog,
    encoding: LogEncoding,
    meter: LogMeter,
    pub(super) cluster: Arc<Cluster>,
    /// TTL of the records of a node that is gone.
    pub(super) ttl: Duration,
    /// The engine's time in milliseconds of the Unix epoch, as last heard, and when that was.
    heard: Option<(u64, Instant)>,
    stage: Stage,
    /// Whether it has said that this node stops.
    has_said_goodbye: bool,
    /// This node's place in this partition's order of the nodes, from 0.
    pub(super) rank: u32,
    /// Number of the last list of nodes.
    pub(super) heard_of: u64,
    /// The nodes as last announced.
    pub(super) members: BTreeSet<NodeId>,
    /// Nodes that may append and aren't among the members, and since when.
    pub(super) suspects: BTreeMap<NodeId, Instant>,
    /// When the members were last announced by this partition.
    pub(super) announced: Option<Instant>,
    /// Who waits for all nodes, and for positions of the log.
    asks: Asks,
    readers: Readers,
    /// Whether the other nodes have the same.
    digests: Digests,
    /// Who waits for changes of sessions, and what is to be taken over.
    known: Known,
    /// The last batch that was read.
    cursor: Cursor,
    /// Maximum memory of all partitions' kept publications, and the memory of this one's, in bytes.
    max_history: usize,
    history: usize,
    /// The snapshot that is being written.
    writing: Option<Snapshot>,
    /// Whether the engine wants the state.
    is_state_wanted: bool,
    written: Written,
    /// Bytes of the log since the last snapshot of any node.
    grown: u64,
}

/// The last snapshot.
#[derive(Debug, Default)]
struct Written {
    /// Its size, in bytes.
    size: u64,
    /// When the next one may be written.
    next: Option<Instant>,
    /// When another one is written in any case, so that the log is trimmed up to this one.
    trims: Option<Instant>,
}

impl Written {
    /// When another one is written, if nothing comes in between.
    fn trims(&self) -> Option<Instant> {
        self.trims.max(self.next.filter(|_| self.trims.is_some()))
    }
}

impl PartitionReplica {
    /// Restores it from the newest snapshot, and follows its log from there.
    pub(super) async fn open(
        number: usize,
        settings: Settings,
        log: PartitionLog,
        cluster: Arc<Cluster>,
        clock: &Arc<Clock>,
    ) -> Self {
        let mut replica = Self::new(number, settings, log, cluster, clock);
        loop {
            match replica.log.read_snapshot().await {
                Ok(None) => break,
                Ok(Some((cursor, chunks))) => match check(&replica.encoding, cursor, &chunks).await
                {
                    Ok(()) => {
                        replica.restore(cursor, &chunks, clock).await;
                        break;
                    }
                    Err(error) => {
                        if let Some(skipped) = replica.cluster.skipped.note(clock.now()) {
                            tracing::error!(partition = number, skipped, %error, "snapshot refused");
                        }
                        tokio::time::sleep(RETRY).await; // another node may write one
                    }
                },
                Err(error) => {
                    tracing::warn!(partition = number, %error, "failed to read the snapshot");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        replica.log.follow(replica.cursor);
        replica
    }

    fn new(
        number: usize,
        settings: Settings,
        log: PartitionLog,
        cluster: Arc<Cluster>,
        clock: &Arc<Clock>,
    ) -> Self {
        let now = clock.now();
        cluster.catch_up.begin(now);
        Self {
            number,
            partition: Partition::new(settings, cluster.node, KnownRules::OWN, now),
            log,
            encoding: cluster.encoding(number, settings.log),
            meter: LogMeter::new(&cluster, clock),
            digests: Digests::new(number, &cluster),
            known: Known::new(settings.resume.ttl),
            cluster,
            ttl: settings.presence_ttl,
            heard: None,
            stage: Stage::CatchingUp,
            has_said_goodbye: false,
            rank: 0,
            heard_of: 0,
            members: BTreeSet::new(),
            suspects: BTreeMap::new(),
            announced: None,
            asks: Asks::default(),
            readers: Readers::default(),
            cursor: Cursor(0),
            max_history: settings.history.max_bytes,
            history: 0,
            writing: None,
            is_state_wanted: false,
            written: Written::default(),
            grown: 0,
        }
    }

    async fn restore(&mut self, cursor: Cursor, chunks: &[Bytes], clock: &Clock) {
        let unix = u64::try_from(clock.unix().as_millis()).unwrap_or(u64::MAX);
        let mut is_complete = false;
        for chunk in chunks {
            match self.encoding.decode_chunk(chunk) {
                Ok(items) => {
                    for item in items {
                        is_complete = self.partition.restore(item, unix, clock.now());
                    }
                }
                Err(error @ (EncodingError::Format(_) | EncodingError::Rules(_))) => {
                    self.cluster.outdate(self.number, &error);
                    return std::future::pending().await; // until the stop
                }
                Err(error) => {
                    tracing::error!(partition = self.number, %error, "the snapshot can't be read");
                    return self.cluster.fail();
                }
            }
            self.written.size += chunk.len() as u64;
            tokio::task::yield_now().await;
        }
        if !is_complete {
            tracing::error!(partition = self.number, "the snapshot isn't complete");
            return self.cluster.fail();
        }
        self.meter.restored(self.written.size);
        self.cursor = cursor;
        self.note_read(clock.now());
    }

    pub(super) fn is_current(&self) -> bool {
        self.stage == Stage::Current
    }

    pub(super) fn shard(&self) -> &Shard<Recipient> {
        self.partition.shard()
    }

    pub(super) fn shard_mut(&mut self) -> &mut Shard<Recipient> {
        self.partition.shard_mut()
    }

    /// Sets the time of day to the engine's, or to this node's before anything was heard.
    pub(super) fn set_unix(&mut self, unix: u64, now: Instant) {
        let heard = || {
            let (at, when) = self.heard?;
            let since = now.saturating_duration_since(when).as_millis();
            Some(at.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
        };
        let unix = self.cluster.engine_time.at(now).or_else(heard).unwrap_or(unix);
        self.partition.shard_mut().set_unix(unix);
    }

    /// The time of the streams at a time of the clock: it stands still while nothing is heard of the engine.
    pub(super) fn time(&self, now: Instant) -> Instant {
        self.cluster.time.at(now)
    }

    pub(super) fn poll_timeout(&self, clock: Instant) -> Option<Instant> {
        let due = [self.shard().poll_timeout(), self.written.trims()].into_iter().flatten().min();
        let due = due.and_then(|due| self.cluster.time.due(due, clock));
        let due = [due, self.partition.poll_timeout(), self.digests.poll_timeout(self.rank)];
        let due = due.into_iter().chain([self.known.poll_timeout(self.rank)]).flatten().min();
        due.filter(|_| self.is_current())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, clock: Instant) {
        if self.is_current() {
            self.partition.shard_mut().handle_timeout(now);
            self.partition.handle_timeout(clock);
            self.digests.handle_timeout(&mut self.partition, self.rank, clock);
            self.known.take_over(&mut self.partition, self.rank, clock);
        }
    }

    pub(super) fn takes_inputs(&self) -> bool {
        self.is_current() && self.writing.is_none() && self.shard().waiting() < MAX_WAITING
    }

    pub(super) fn poll_events(&mut self, task: &mut Context<'_>, jobs: &mut Vec<Job>) -> Poll<()> {
        if self.writing.is_some() || self.cluster.is_outdated() {
            return Poll::Pending; // no batch comes into a snapshot
        }
        let mut is_any = false;
        for _ in 0..EVENTS_A_TURN {
            // none: the engine's tasks have ended, at the stop
            let Poll::Ready(Some(event)) = self.log.events.poll_recv(task) else { break };
            jobs.push(Job::Event(event));
            is_any = true;
        }
        if is_any { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn take_events(&mut self, jobs: &mut Vec<Job>) {
        if self.writing.is_some() || self.cluster.is_outdated() {
            return;
        }
        for _ in 0..EVENTS_A_TURN {
            let Ok(event) = self.log.events.try_recv() else { return };
            jobs.push(Job::Event(event));
        }
    }

    pub(super) fn handle(&mut self, event: Event, now: Instant, clock: Instant) {
        match event {
            Event::Batch { cursor, at, batch } => {
                self.apply((cursor, at), &batch, now, clock);
                if self.number == WITH_BEATS {
                    self.cluster.time.hear(clock);
                    self.cluster.note_rules(self.partition.rules());
                    self.announce_members(clock);
                }
                self.note_read(clock);
            }
            Event::CaughtUp => {
                if !self.is_current() {
                    self.stage = Stage::Current;
                    if self.number == WITH_BEATS {
                        self.cluster.catch_up.note_others(self.partition.members().nodes().len());
                        self.partition.begin_beating(self.cluster.lease, clock);
                    }
                    self.exclude_earlier();
                    self.digests.begin(clock);
                    self.cluster.note_current(clock);
                }
            }
            Event::AppendFailed => self.partition.handle_append_failed(),
            Event::StateWanted => self.is_state_wanted = true,
            Event::Lost(reason) => {
                self.stage = Stage::Lost;
                self.cluster.lose(self.number, reason);
            }
        }
    }

    fn apply(&mut self, (cursor, at): (Cursor, u64), bytes: &[u8], now: Instant, clock: Instant) {
        self.cursor = cursor;
        if !self.is_current() {
            self.cluster.catch_up.note_batch(bytes.len() as u64);
        }
        let entry = match self.encoding.decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.meter.skipped(error);
                match error {
                    EncodingError::Rules(rules) => self.partition.skip(rules),
                    EncodingError::Format(_) => self.cluster.outdate(self.number, &error),
                    EncodingError::Damaged | EncodingError::Forged => {}
                }
                self.look_for_unknown();
                if let Some(skipped) = self.cluster.skipped.note(clock) {
                    let (partition, cursor) = (self.number, cursor.0);
                    tracing::error!(partition, cursor, skipped, %error, "batch skipped");
                }
                return; // its time isn't a node's, either
            }
        };
        self.heard = Some((at, clock));
        self.partition.shard_mut().set_unix(at);
        let before = self.partition.incarnation();
        let first = encoding::first_position(cursor);
        let (is_own, applied) = match entry {
            LogEntry::Batch(batch) => {
                let is_own = batch.node == self.cluster.node;
                (is_own, self.partition.apply(first, at, batch, now))
            }
            LogEntry::Fork(fork) => (false, self.fork(fork, (first, at), now)),
        };
        match applied {
            Ok(()) => {
                self.digests.note(&mut self.partition, clock);
                if self.is_current() {
                    self.meter.applied(at, is_own, clock);
                }
            }
            Err(reason) => {
                self.meter.refused(reason);
                if reason != Refused::Again {
                    tracing::debug!(partition = self.number, %reason, "batch skipped");
                }
            }
        }
        self.look_for_unknown();
        if self.partition.incarnation() > before {
            if self.number == WITH_BEATS {
                self.cluster.instruments.exclusions.increment(1);
            }
            tracing::warn!(
                partition = self.number,
                "the other nodes believed this one dead: its members join again"
            );
        }
    }

    /// Stops if the partition has met rules that this version doesn't know.
    fn look_for_unknown(&self) {
        if let Some(unknown) = self.partition.unknown() {
            self.cluster.outdate(self.number, &unknown);
        }
    }

    fn fork(&mut self, fork: ForkId, at: (Position, u64), now: Instant) -> Result<(), Refused> {
        self.partition.fork(fork, at, now)?;
        self.cluster.instruments.forks.increment(1);
        tracing::warn!(
            partition = self.number,
            "the log may lack what a node had that is gone: histories begin again"
        );
        Ok(())
    }

    /// Excludes the node that this process was before it began again: so nobody waits for its lease.
    fn exclude_earlier(&mut self) {
        let earlier = self.partition.nodes().find(|(node, _)| self.cluster.was(*node));
        if let Some((node, incarnation)) = earlier {
            self.partition.propose(Item::Gone { node, incarnation, ttl: self.ttl });
        }
    }

    /// Passes on how far the log is read, and what was parked, asked and answered there.
    fn note_read(&mut self, clock: Instant) {
        self.cluster.parked.note(self.partition.shard_mut().take_parked());
        let position = self.partition.position();
        self.cluster.note_read(self.number, position);
        self.readers.note(position);
        let is_current = self.is_current();
        self.asks.pass_on(&mut self.partition, &self.cluster, is_current);
        self.known.pass_on(&mut self.partition, &self.cluster, clock);
    }

    /// Changes what the application knows of a session, and answers once that is in the log.
    pub(super) fn change_session(&mut self, change: SessionChange, answer: Option<SessionAnswer>) {
        self.known.change(&mut self.partition, change, answer);
    }

    /// Asks all nodes to do something, or one.
    pub(super) fn ask(&mut self, ask: (Option<NodeId>, Ask), answer: oneshot::Sender<Answer>) {
        self.asks.ask(&mut self.partition, ask, answer);
    }

    /// This node has done what it was asked to.
    pub(super) fn answer(&mut self, to: AskId, answer: Answer) {
        self.partition.propose(Item::Answer { to, answer });
    }

    /// Answers when the log is read up to a position.
    pub(super) fn reach(&mut self, position: Position, answer: oneshot::Sender<()>) {
        self.readers.add(position, self.partition.position(), answer);
    }

    /// Divides the memory of kept publications: a partition may have what the others leave, and a fair share in any case.
    pub(super) fn share_memory(&mut self) {
        let is = self.shard().totals().history_bytes;
        if is != self.history {
            let all = self.cluster.note_history(self.history, is);
            self.history = is;
            let left = is + self.max_history.saturating_sub(all);
            let share = self.max_history / self.cluster.partitions;
            self.shard_mut().set_max_history(share.max(left));
        }
    }

    pub(super) fn append(&mut self) {
        let may = self.number == WITH_BEATS || self.cluster.has_beaten();
        if self.partition.rules().is_none() {
            self.follow_rules(); // nothing is in the log yet
        }
        if self.is_current()
            && !self.cluster.is_outdated()
            && may
            && let Some(batch) = self.partition.poll_append()
        {
            let bytes = self.encoding.encode(batch);
            self.meter.append(batch.items.len(), bytes.len());
            self.log.append(bytes);
        }
    }

    /// Writes the next part of a snapshot, if one is due; returns whether there is more. No batch is applied until it is
    /// complete.
    pub(super) fn write_snapshot(&mut self, now: Instant) -> bool {
        if self.cluster.is_outdated() {
            return false;
        }
        if self.writing.is_none() {
            self.note_snapshots(now);
            if !self.is_state_wanted && !self.wants_snapshot(now) {
                return false;
            }
        }
        let begin = || {
            let encoder =
                self.encoding.begin_snapshot(self.cursor, self.partition.rules_to_write());
            Snapshot { place: 0, chunks: Vec::new(), encoder, timer: self.meter.time_snapshot() }
        };
        let snapshot = self.writing.get_or_insert_with(begin);
        let (items, next) = self.partition.snapshot(snapshot.place, ENTRIES_A_TURN);
        snapshot.chunks.push(snapshot.encoder.encode(&items, next.is_none()));
        if let Some(place) = next {
            snapshot.place = place;
            return true;
        }
        let Some(Snapshot { chunks, timer, .. }) = self.writing.take() else { return false };
        if std::mem::take(&mut self.is_state_wanted) {
            self.log.give_state(self.cursor, chunks);
            return false;
        }
        let size = chunks.iter().map(Bytes::len).sum::<usize>();
        let is_for_trimming = self.written.trims.is_some_and(|trims| now >= trims);
        self.written = Written {
            size: size as u64,
            next: Some(now + BETWEEN_SNAPSHOTS),
            trims: (!is_for_trimming).then(|| now + BETWEEN_SNAPSHOTS),
        };
        self.meter.set_snapshot_bytes(size as u64);
        let (number, cursor, snapshots) = (self.number, self.cursor, self.log.snapshots());
        tokio::spawn(async move {
            let written = snapshots.write(cursor, chunks).await;
            timer.stop(written.is_ok());
            match written {
                Ok(()) => tracing::debug!(partition = number, size, "snapshot written"),
                Err(error) => {
                    tracing::warn!(partition = number, %error, "failed to write a snapshot");
                }
            }
        });
        false
    }

    /// Notes that a node has written a snapshot: so nobody writes the next one soon.
    fn note_snapshots(&mut self, now: Instant) {
        let grown = self.log.bytes_since_snapshot();
        self.meter.set_log_bytes(grown);
        if std::mem::replace(&mut self.grown, grown) > grown {
            self.written.next = Some(now + BETWEEN_SNAPSHOTS);
        }
    }

    /// Whether the log has grown so much that a snapshot is worth it. The first of the nodes writes it; each of the
    /// others only when those before it don't.
    fn wants_snapshot(&self, now: Instant) -> bool {
        let Written { size, next, .. } = self.written;
        let worth = SNAPSHOT_BYTES.max(2 * size) * (1 + u64::from(self.rank));
        self.is_current()
            && next.is_none_or(|next| now >= next)
            && (self.grown > worth || self.written.trims().is_some_and(|trims| now >= trims))
    }

    /// Says goodbye when all that was proposed is in the log: in the partition with the beats last. Waits for the log;
    /// returns whether there is more to do.
    pub(super) async fn leave(&mut self, jobs: &mut Vec<Job>) -> bool {
        let is_done = self.has_said_goodbye && !self.partition.is_waiting();
        if !self.is_current() || is_done || self.cluster.is_outdated() {
            self.cluster.note_left();
            return false;
        }
        if !self.partition.is_waiting() {
            if self.number == WITH_BEATS {
                self.cluster.others_left().await;
            }
            let (node, incarnation) = (self.cluster.node, self.partition.incarnation());
            self.partition.propose(Item::Gone { node, incarnation, ttl: self.ttl });
            self.has_said_goodbye = true;
        }
        self.append();
        std::future::poll_fn(|task| self.poll_events(task, jobs)).await;
        true
    }
}

/// Checks that a snapshot is one that a node of the cluster has written.
async fn check(
    encoding: &LogEncoding,
    cursor: Cursor,
    chunks: &[Bytes],
) -> Result<(), EncodingError> {
    let mut check = encoding.check_snapshot(cursor);
    for (number, chunk) in (1..).zip(chunks) {
        check.check(chunk, number == chunks.len())?;
        tokio::task::yield_now().await;
    }
    Ok(())
}
