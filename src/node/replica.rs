//! What a worker works on: streams, and their log.

use std::collections::BTreeSet;
use std::task::{Context, Poll};
use std::time::Instant;

use super::job::{Job, SessionAnswer};
use super::partition::PartitionReplica;
use crate::clock::Clock;
use crate::engine::Event;
use crate::log::{KnownSession, KnownSessions, NodeId, Position, SessionChange, Void};
use crate::outbound::Recipient;
use crate::shard::{Output, Shard};
use crate::state::Log;
use crate::types::SessionId;

/// Number of a snapshot's entries written before other tasks get their turn.
const ENTRIES_A_TURN: usize = 1024;

/// The same for sessions, which are larger.
const SESSIONS_A_TURN: usize = 256;

/// The streams of a worker, and their log.
#[derive(Debug)]
pub(super) enum Replica {
    /// The shard numbers its entries itself.
    Alone(Box<Alone>),
    /// Several nodes do, through an engine.
    Partition(Box<PartitionReplica>),
}

/// A shard, and its log on disk, written before anything is sent.
#[derive(Debug)]
pub(super) struct Alone {
    shard: Shard<Recipient>,
    log: Option<Log>,
    /// The sessions that the application knows, if they are kept.
    sessions: KnownSessions,
    snapshot: Snapshot,
}

/// Progress of a snapshot.
#[derive(Debug)]
enum Snapshot {
    /// The next stream to write.
    Streams(usize),
    /// The sessions to write.
    Sessions(Vec<SessionId>),
}

impl Replica {
    pub(super) fn alone(
        shard: Shard<Recipient>,
        log: Option<Log>,
        sessions: KnownSessions,
    ) -> Self {
        Self::Alone(Box::new(Alone { shard, log, sessions, snapshot: Snapshot::Streams(0) }))
    }

    /// Whether other nodes have it, too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Partition(_))
    }

    /// The partition that it is, if other nodes have it, too.
    pub(super) fn partition_mut(&mut self) -> Option<&mut PartitionReplica> {
        match self {
            Self::Alone(_) => None,
            Self::Partition(replica) => Some(replica),
        }
    }

    pub(super) fn shard(&self) -> &Shard<Recipient> {
        match self {
            Self::Alone(alone) => &alone.shard,
            Self::Partition(replica) => replica.shard(),
        }
    }

    pub(super) fn shard_mut(&mut self) -> &mut Shard<Recipient> {
        match self {
            Self::Alone(alone) => &mut alone.shard,
            Self::Partition(replica) => replica.shard_mut(),
        }
    }

    /// Keeps the new entries, then gives access to the output. So a crash of the process loses nothing that was sent.
    pub(super) fn commit(&mut self, now: Instant) -> Output<'_, Recipient> {
        match self {
            Self::Alone(alone) => alone.commit(now),
            Self::Partition(replica) => replica.shard_mut().commit(|_| ()),
        }
    }

    /// Sets the time of day, in milliseconds of the Unix epoch.
    pub(super) fn set_unix(&mut self, clock: &Clock) {
        let unix = u64::try_from(clock.unix().as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Alone(alone) => alone.shard.set_unix(unix),
            Self::Partition(replica) => replica.set_unix(unix, clock.now()),
        }
    }

    /// The time of the streams, at a time of the clock.
    pub(super) fn time(&self, now: Instant) -> Instant {
        match self {
            Self::Alone(_) => now,
            Self::Partition(replica) => replica.time(now),
        }
    }

    /// When the next [`Replica::handle_timeout`] is due, by the clock.
    pub(super) fn poll_timeout(&self, clock: &Clock) -> Option<Instant> {
        match self {
            Self::Alone(alone) => {
                let retry = alone.log.as_ref().and_then(Log::poll_timeout);
                [alone.shard.poll_timeout(), retry].into_iter().flatten().min()
            }
            Self::Partition(replica) => replica.poll_timeout(clock.now()),
        }
    }

    /// Expires what is due. `now` is the time of the streams.
    pub(super) fn handle_timeout(&mut self, now: Instant, clock: &Clock) {
        match self {
            Self::Alone(alone) => alone.shard.handle_timeout(now),
            Self::Partition(replica) => replica.handle_timeout(now, clock.now()),
        }
    }

    /// Whether a snapshot has more to be written.
    pub(super) fn has_more_to_write(&self) -> bool {
        match self {
            Self::Alone(alone) => alone.log.as_ref().is_some_and(Log::is_in_snapshot),
            Self::Partition(_) => false,
        }
    }

    /// Writes the next entries of a snapshot, if one is due; returns whether more remain.
    pub(super) fn write_snapshot(&mut self, now: Instant) -> bool {
        match self {
            Self::Alone(alone) => alone.write_snapshot(now),
            Self::Partition(replica) => replica.write_snapshot(now),
        }
    }

    /// Changes what the application knows of a session, and answers once that is kept.
    pub(super) fn change_session(
        &mut self,
        change: SessionChange,
        answer: Option<SessionAnswer>,
        now: Instant,
    ) {
        match self {
            Self::Alone(alone) => {
                let result = alone.change_session(change, now);
                if let Some(answer) = answer {
                    answer.send(result).ok(); // the requester may be gone
                }
            }
            Self::Partition(replica) => replica.change_session(change, answer),
        }
    }

    /// A session that the application knows.
    pub(super) fn session(&self, sid: SessionId) -> Option<&KnownSession> {
        match self {
            Self::Alone(alone) => alone.sessions.get(sid),
            Self::Partition(replica) => replica.partition.session(sid),
        }
    }

    /// Closes the log on disk.
    pub(super) fn close(&mut self, now: Instant) {
        if let Self::Alone(alone) = self
            && let Some(log) = alone.log.take()
        {
            log.close(now);
        }
    }

    /// Whether it takes inputs now.
    pub(super) fn takes_inputs(&self) -> bool {
        match self {
            Self::Alone(_) => true,
            Self::Partition(replica) => replica.takes_inputs(),
        }
    }

    /// Takes what has happened in the log. Ready if anything has.
    pub(super) fn poll_events(&mut self, task: &mut Context<'_>, jobs: &mut Vec<Job>) -> Poll<()> {
        match self {
            Self::Alone(_) => Poll::Pending,
            Self::Partition(replica) => replica.poll_events(task, jobs),
        }
    }

    /// The same without waiting.
    pub(super) fn take_events(&mut self, jobs: &mut Vec<Job>) {
        if let Self::Partition(replica) = self {
            replica.take_events(jobs);
        }
    }

    /// Handles what happened in the log. Poll the outcomes afterwards.
    pub(super) fn handle(&mut self, event: Event, now: Instant, clock: &Clock) {
        if let Self::Partition(replica) = self {
            replica.handle(event, now, clock.now());
        }
    }

    /// The partition with the beats says which nodes there are.
    pub(super) fn hear_of_members(
        &mut self,
        number: u64,
        members: &BTreeSet<NodeId>,
        clock: &Clock,
    ) {
        if let Self::Partition(replica) = self {
            replica.hear_of_members(number, members, clock.now());
        }
    }

    /// Appends what was proposed.
    pub(super) fn append(&mut self) {
        if let Self::Partition(replica) = self {
            replica.append();
            replica.share_memory();
        }
    }

    /// At the stop, when no input is left: tells the other nodes, and waits for what happens in the log. Returns whether
    /// there is more to do.
    pub(super) async fn leave(&mut self, jobs: &mut Vec<Job>) -> bool {
        match self {
            Self::Alone(_) => false,
            Self::Partition(replica) => replica.leave(jobs).await,
        }
    }
}

impl Alone {
    fn commit(&mut self, now: Instant) -> Output<'_, Recipient> {
        let Self { shard, log, .. } = self;
        shard.commit(|entries| {
            if let Some(log) = log {
                log.append(entries, now);
            }
        })
    }

    fn change_session(&mut self, change: SessionChange, now: Instant) -> Result<(), Void> {
        let Some(log) = &mut self.log else { return Ok(()) };
        self.sessions.apply(Position(0), &change)?;
        match change {
            // as two changes: a snapshot that is being written may have neither id
            SessionChange::Moved { from: sid, to, .. } => {
                let known = self.sessions.get(to).map(|session| session.change(to));
                log.append_sessions([SessionChange::Told { sid }].into_iter().chain(known), now);
            }
            SessionChange::Known { .. } | SessionChange::Told { .. } => {
                log.append_sessions([change], now);
            }
        }
        Ok(())
    }

    fn write_snapshot(&mut self, now: Instant) -> bool {
        self.commit(now);
        let Self { shard, log: Some(log), sessions, snapshot } = self else { return false };
        if log.wants_snapshot(now) {
            log.begin_snapshot(now);
            *snapshot = Snapshot::Streams(0);
        }
        if !log.is_in_snapshot() {
            return false;
        }
        let output = shard.commit(|_| ()); // all entries are written
        match snapshot {
            Snapshot::Streams(place) => {
                let (entries, next) = output.snapshot(*place, ENTRIES_A_TURN);
                log.append(&entries, now);
                *snapshot = match next {
                    Some(place) => Snapshot::Streams(place),
                    None => Snapshot::Sessions(sessions.iter().map(|(sid, _)| sid).collect()),
                };
            }
            Snapshot::Sessions(left) => {
                let next = left.drain(left.len().saturating_sub(SESSIONS_A_TURN)..);
                let known = next.filter_map(|sid| Some(sessions.get(sid)?.change(sid)));
                log.append_sessions(known, now);
            }
        }
        if matches!(snapshot, Snapshot::Sessions(left) if left.is_empty()) {
            log.end_snapshot(output.forgotten(), output.next_position(), now);
            *snapshot = Snapshot::Streams(0);
        }
        log.is_in_snapshot()
    }
}
