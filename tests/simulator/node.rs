//! A node: what it has read, what it was told of that, and its clock.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use broker::cluster::{Item, Partition};
use broker::log::NodeId;
use broker::node::LogTime;
use broker::shard::{Input, ParkedChange, ParkedState};
use broker::types::{SessionId, StreamName};

use crate::world::{INTERVAL, SILENCE};

/// Inputs that wait, by stream.
type Waiting = Vec<(usize, Input<usize>)>;

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) partition: Partition<usize>,
    /// Number of batches it has read.
    pub(crate) read: usize,
    /// Number of those that its snapshot has.
    pub(crate) restored: usize,
    /// The last batch that it has read, by its number in the engine.
    pub(crate) last: Option<u64>,
    /// Whether the engine's answer to its last append was lost.
    pub(crate) is_unanswered: bool,
    /// What it was told is parked.
    pub(crate) parked: BTreeSet<(StreamName, SessionId)>,
    /// Whether it can't reach the engine.
    pub(crate) is_cut: bool,
    /// Whether it has what the log has lost: it doesn't know yet.
    pub(crate) is_lost: bool,
    /// Since when it stands still, by the clock on the wall, and what it has yet to take in.
    pub(crate) paused: Option<(Instant, Waiting)>,
    /// Time for which it stood still before that.
    pub(crate) stood: Duration,
    /// The time of the log here.
    pub(crate) time: LogTime,
    /// The time that may count here: when it was how much.
    pub(crate) counted: Vec<(Instant, Duration)>,
    /// Since how long nothing was heard, once something was.
    silence: Option<Duration>,
}

impl Node {
    pub(crate) fn new(id: NodeId, partition: Partition<usize>, now: Instant) -> Self {
        Self {
            id,
            partition,
            read: 0,
            restored: 0,
            last: None,
            is_unanswered: false,
            parked: BTreeSet::new(),
            is_cut: false,
            is_lost: false,
            paused: None,
            stood: Duration::ZERO,
            time: LogTime::new(SILENCE / 2),
            counted: vec![(now, Duration::ZERO)],
            silence: None,
        }
    }

    /// It says that it lives, and proposes rules that all know.
    pub(crate) fn beat(&mut self) {
        let knows = self.partition.known().newest;
        self.partition.propose(Item::Beat { interval: INTERVAL, knows });
        self.partition.propose_rules();
    }

    /// Whether it has met rules that it doesn't know, and waits to be replaced.
    pub(crate) fn is_stopped(&self) -> bool {
        self.partition.unknown().is_some()
    }

    /// What its clock shows, from which pauses are left out.
    pub(crate) fn clock(&self, now: Instant) -> Instant {
        let shown = self.paused.as_ref().map_or(now, |(since, _)| *since);
        shown.checked_sub(self.stood).unwrap()
    }

    /// The time of the log, by which TTLs run.
    pub(crate) fn now(&self, now: Instant) -> Instant {
        self.time.at(self.clock(now))
    }

    /// It has read a batch.
    pub(crate) fn hear_log(&mut self, now: Instant) {
        self.time.hear(self.clock(now));
        self.silence = Some(Duration::ZERO);
    }

    /// Time passes for it. Notes how much of it may count.
    pub(crate) fn pass(&mut self, passed: Duration, now: Instant) {
        if self.paused.is_some() {
            return;
        }
        let (_, before) = self.counted[self.counted.len() - 1];
        let left = self.silence.map_or(passed, |silence| SILENCE.saturating_sub(silence));
        let counts = passed.min(left);
        self.silence = self.silence.map(|silence| silence + passed);
        self.counted.push((now, before + counts));
    }

    /// How much of the time since then may count.
    pub(crate) fn counted_since(&self, then: Instant) -> Duration {
        let before = self.counted.iter().rev().find(|(when, _)| *when <= then);
        let (_, all) = self.counted[self.counted.len() - 1];
        all.saturating_sub(before.map_or(Duration::ZERO, |(_, before)| *before))
    }

    pub(crate) fn note_parked(&mut self) {
        for ParkedChange { stream, by, state } in self.partition.shard_mut().take_parked() {
            let place = (stream, by.session);
            let is_so = match state {
                ParkedState::Parked(..) => self.parked.insert(place.clone()),
                ParkedState::Resumed => self.parked.contains(&place),
                ParkedState::Over => self.parked.remove(&place),
            };
            assert!(is_so, "{place:?} can't be {state:?}");
        }
    }
}
