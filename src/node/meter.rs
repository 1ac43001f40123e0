//! Counts the work of a shard's task, for the metrics and the dashboard.

use std::sync::Arc;
use std::time::Instant;

use metrics::{Counter, Gauge, Histogram};
use tokio::sync::mpsc;

use super::job::Job;
use super::query::Tally;
use crate::clock::Clock;
use crate::outbound::Recipient;
use crate::shard::{Counts, Shard, Totals};
use crate::telemetry::{Instruments, Labelled, metrics as names};

pub(super) struct Meter {
    instruments: Arc<Instruments>,
    /// The queue's depth, and the value last exported.
    depth: (Gauge, usize),
    /// The shard's totals as last exported.
    held: Totals,
    tally: Tally,
    /// Spare counts, swapped in each turn so that none are allocated.
    spare: Counts,
    /// Bytes written to sockets.
    pub(super) sent: usize,
    /// Messages sent, counted per subscriber.
    pub(super) delivered: usize,
}

impl Meter {
    pub(super) fn new(shard: usize, instruments: Arc<Instruments>) -> Self {
        let depth = metrics::gauge!(names::SHARD_QUEUE_DEPTH, "shard" => shard.to_string());
        depth.set(0.0);
        Self {
            instruments,
            depth: (depth, 0),
            held: Totals::default(),
            tally: Tally::default(),
            spare: Counts::default(),
            sent: 0,
            delivered: 0,
        }
    }

    /// All counts since the start.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Exports the counts since the last call.
    pub(super) fn count(
        &mut self,
        shard: &mut Shard<Recipient>,
        queue: &mpsc::Receiver<Job>,
        clock: &Clock,
    ) {
        let mut counts = shard.count_in(std::mem::take(&mut self.spare));
        self.tally.add(&counts, self.delivered);
        let metrics = &*self.instruments;
        count_runs(&mut counts.commands, |(kind, followed), times| {
            let outcome = if followed { &metrics.commands_ok } else { &metrics.commands_refused };
            outcome.add(kind, times);
        });
        count_each(&mut counts.limits, &metrics.limits);
        count_each(&mut counts.joins, &metrics.joins);
        count_each(&mut counts.leaves, &metrics.leaves);
        count_each(&mut counts.updates, &metrics.updates);
        count_each(&mut counts.dropped, &metrics.history_dropped);
        count_runs(&mut counts.histories, |told, times| {
            let outcome = if told { &metrics.histories_ok } else { &metrics.histories_refused };
            outcome.increment(times);
        });
        record_since(&mut counts.expired, &metrics.expiry_lag, clock);
        record_since(&mut counts.fan_outs, &metrics.fanout_duration, clock);
        add(&metrics.publications, std::mem::take(&mut counts.publications));
        add(&metrics.sent_bytes, std::mem::take(&mut self.sent) as u64);
        add(&metrics.deliveries, std::mem::take(&mut self.delivered) as u64);
        self.spare = if counts.is_large() { Counts::default() } else { counts };
        self.gauge(shard.totals(), queue.len());
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats, and far from 2^52")]
    fn gauge(&mut self, held: Totals, depth: usize) {
        let metrics = &*self.instruments;
        let was = std::mem::replace(&mut self.held, held);
        if was != held {
            let moved = |is: usize, was: usize| is as f64 - was as f64;
            metrics.streams.increment(moved(held.streams, was.streams));
            metrics.subscriptions.increment(moved(held.subscriptions, was.subscriptions));
            metrics.members.increment(moved(held.members, was.members));
            metrics.records.increment(moved(held.records, was.records));
            metrics.history_publications.increment(moved(held.publications, was.publications));
            metrics.history_bytes.increment(moved(held.history_bytes, was.history_bytes));
        }
        let (gauge, was) = &mut self.depth;
        if std::mem::replace(was, depth) != depth {
            gauge.set(depth as f64);
        }
    }
}

/// Drains a list and calls `count` once per run of equal items.
fn count_runs<K: Copy + PartialEq>(values: &mut Vec<K>, mut count: impl FnMut(K, u64)) {
    for run in values.chunk_by(|one, next| one == next) {
        if let Some(value) = run.first() {
            count(*value, run.len() as u64);
        }
    }
    values.clear();
}

fn count_each<K: Copy + PartialEq>(values: &mut Vec<K>, counters: &Labelled<K>) {
    count_runs(values, |value, times| counters.add(value, times));
}

fn add(counter: &Counter, count: u64) {
    if count > 0 {
        counter.increment(count);
    }
}

/// Records the time since each start, up to now.
fn record_since(starts: &mut Vec<Instant>, histogram: &Histogram, clock: &Clock) {
    if starts.is_empty() {
        return;
    }
    let now = clock.now();
    for start in starts.drain(..) {
        histogram.record(now.saturating_duration_since(start));
    }
}
