//! Startup of the shards: empty or restored from disk, then a task each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use indexmap::{IndexMap, IndexSet};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cluster::Cluster;
use super::partition::PartitionReplica;
use super::replica::Replica;
use super::router::{Router, session_place, shard_of};
use super::worker::Worker;
use crate::clock::Clock;
use crate::engine::PartitionLog;
use crate::log::{Change, Entry, KnownSessions, LogId, Position};
use crate::outbound::Recipient;
use crate::session::Session;
use crate::shard::{Input, Outcome, Restoring, Settings, Shard, Ticket};
use crate::state::{Ending, Loaded, Log};
use crate::telemetry::Instruments;
use crate::types::{PresenceId, SessionId, StreamName};

/// Capacity of a shard's queue; senders wait while it is full.
const QUEUE: usize = 4096;

/// A shard before its start.
#[derive(Debug)]
struct Alone {
    shard: Shard<Recipient>,
    log: Option<Log>,
    sessions: KnownSessions,
}

/// The shards before their start, each with its log on disk, if there is a state directory.
#[derive(Debug)]
pub struct Startup {
    shards: Vec<Alone>,
    settings: Settings,
    /// Restored sessions that can be resumed.
    pub sessions: Vec<Session>,
    /// Restored members that were removed, because their ids are reserved.
    pub removed: Vec<(StreamName, PresenceId)>,
}

impl Startup {
    /// Shards without streams, each with an equal share of the history's memory.
    pub fn empty(shards: usize, settings: Settings, now: Instant) -> Self {
        let count = shards.max(1);
        let shards = (0..count).map(|_| {
            let mut settings = settings;
            settings.history.max_bytes /= count;
            let shard = Shard::new(settings, now);
            Alone { shard, log: None, sessions: KnownSessions::default() }
        });
        Self { shards: shards.collect(), settings, sessions: Vec::new(), removed: Vec::new() }
    }

    /// Shards with the loaded streams, one shard for each log. `unix` is the time since the Unix epoch.
    ///
    /// Members with a reserved id are removed by entries of the log: later ones depend on it.
    pub fn restored(
        settings: Settings,
        loaded: Loaded,
        is_reserved: impl Fn(&PresenceId) -> bool,
        logs: Vec<Log>,
        (unix, now): (Duration, Instant),
    ) -> Self {
        let mut startup = Self::empty(logs.len(), settings, now);
        let unix = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        let complete = loaded.ending != Ending::Incomplete;
        // else publications may be missing after the positions that clients have
        let has_history = complete && loaded.has_history && settings.history.limit > 0;
        let forgotten = if has_history { loaded.forgotten } else { unix };
        for (Alone { shard, log, .. }, kept) in startup.shards.iter_mut().zip(logs) {
            shard.keep_entries();
            shard.restore_position(loaded.next);
            shard.restore_forgotten(forgotten);
            *log = Some(kept);
        }
        let count = startup.shards.len();
        let mut kicked = Vec::new();
        for (stream, entries) in loaded.streams {
            if let Some(Alone { shard, .. }) = startup.shards.get_mut(shard_of(&stream, count)) {
                let reserved = ids_among(&entries, &is_reserved);
                shard.restore(entries, Restoring { unix, complete, has_history, now });
                for id in reserved {
                    let ticket = Ticket(kicked.len());
                    kicked.push((stream.clone(), id.clone()));
                    shard.handle(&stream, Input::Kick { id, ticket }, now);
                }
            }
        }
        let mut sessions: IndexMap<SessionId, Session, RandomState> = IndexMap::default();
        for Alone { shard, log, .. } in &mut startup.shards {
            // later entries build on the restart entries, until a snapshot replaces both
            let mut output =
                shard.commit(|entries| log.iter_mut().for_each(|log| log.append(entries, now)));
            while let Some((Ticket(ticket), outcome)) = output.poll_outcome() {
                if let Outcome::Kicked(1..) = outcome {
                    startup.removed.extend(kicked.get(ticket).cloned());
                }
            }
            shard.take_counts();
            for (stream, key, grant) in shard.resumable() {
                let identifier = key.group.identifier.clone();
                let session = sessions
                    .entry(key.session)
                    .or_insert_with(|| Session::restored(key.session, grant.identity));
                session.restore(identifier, stream.clone(), key.group.watch, grant.rights);
            }
        }
        for (sid, known) in loaded.sessions.iter() {
            if let Some(Alone { sessions, .. }) = startup.shards.get_mut(session_place(sid, count))
            {
                sessions.apply(Position(0), &known.change(sid)).ok(); // it is never void
            }
            let session = Session::known(sid, &known.state);
            let session = match sessions.swap_remove(&sid) {
                Some(parked) => session.with_parked(parked),
                None => session.with_parked(Session::restored(sid, known.state.identity)),
            };
            startup.sessions.push(session);
        }
        startup.sessions.extend(sessions.into_values());
        startup
    }

    /// Starts a task for each shard.
    ///
    /// Tasks end at `stop`. If one panics, `failed` is cancelled: its streams are lost, so the process
    /// should restart.
    pub fn start(
        self,
        clock: &Arc<Clock>,
        instruments: &Arc<Instruments>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        failed: &CancellationToken,
    ) -> Arc<Router> {
        let is_durable = self.shards.iter().any(|alone| alone.log.is_some());
        let asks = !self.settings.resume.ttl.is_zero();
        let shards = self.shards.into_iter().enumerate().map(|(number, alone)| {
            let Alone { shard, log, sessions } = alone;
            let (sender, queue) = mpsc::channel(QUEUE);
            let (clock, instruments) = (Arc::clone(clock), Arc::clone(instruments));
            let replica = (Replica::alone(shard, log, sessions), asks);
            let worker = Worker::new(number, replica, queue, clock, instruments);
            let (stop, fault) = (stop.clone(), failed.clone().drop_guard());
            tasks.spawn(async move {
                worker.run(stop).await;
                fault.disarm();
            });
            sender
        });
        Arc::new(Router::new(shards.collect(), is_durable))
    }
}

/// The partitions of a node before their start: their logs come when the engine is there.
#[derive(Debug)]
pub struct Partitions {
    settings: Settings,
    cluster: Arc<Cluster>,
    logs: Vec<oneshot::Receiver<(LogId, PartitionLog)>>,
}

impl Partitions {
    /// Partitions that wait for their logs, and where to send these.
    pub fn new(
        settings: Settings,
        cluster: &Arc<Cluster>,
    ) -> (Self, Vec<oneshot::Sender<(LogId, PartitionLog)>>) {
        let channels = (0..cluster.partitions).map(|_| oneshot::channel());
        let (senders, logs) = channels.unzip();
        (Self { settings, cluster: Arc::clone(cluster), logs }, senders)
    }

    /// Starts a task for each partition. See [`Startup::start`].
    pub fn start(
        self,
        clock: &Arc<Clock>,
        instruments: &Arc<Instruments>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        failed: &CancellationToken,
    ) -> Arc<Router> {
        let Self { settings, cluster, logs } = self;
        let asks = !settings.resume.ttl.is_zero();
        let shards = logs.into_iter().enumerate().map(|(number, log)| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let (clock, instruments) = (Arc::clone(clock), Arc::clone(instruments));
            let (stop, fault) = (stop.clone(), failed.clone().drop_guard());
            let cluster = Arc::clone(&cluster);
            tasks.spawn(async move {
                let open = async {
                    let (id, log) = log.await.ok()?;
                    let settings = Settings { log: id, ..settings };
                    Some(PartitionReplica::open(number, settings, log, cluster, &clock).await)
                };
                if let Some(Some(replica)) = stop.run_until_cancelled(open).await {
                    let replica = (Replica::Partition(Box::new(replica)), asks);
                    Worker::new(number, replica, queue, clock, instruments).run(stop).await;
                }
                fault.disarm();
            });
            sender
        });
        let shards: Vec<_> = shards.collect();
        cluster.set_workers(&shards);
        Arc::new(Router::of_partitions(shards, cluster.patience))
    }
}

/// Those ids for which something holds, of all that a stream's members have, or have had.
fn ids_among(
    entries: &[Entry],
    holds: impl Fn(&PresenceId) -> bool,
) -> IndexSet<PresenceId, RandomState> {
    let mut ids = IndexSet::default();
    for entry in entries {
        if let Change::Joined { id, .. } | Change::Put { id, .. } | Change::Record { id, .. } =
            &entry.change
            && holds(id)
        {
            ids.insert(id.clone());
        }
    }
    ids
}
