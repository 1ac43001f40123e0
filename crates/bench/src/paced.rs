//! Publications at a pace, to one stream after the other.

use crate::bench::{self, Bench};
use crate::clock;
use crate::crowd::Listener;
use crate::numbers::count;
use crate::pacer::Pacer;
use crate::publisher::Publication;

/// Publishes to one stream after the other.
pub(crate) struct Paced {
    first: u32,
    audiences: Vec<u64>,
    place: usize,
    rate: f64,
    pacer: Pacer,
}

impl Paced {
    /// `audiences` says how many follow each stream.
    pub(crate) fn new(audiences: Vec<u64>, rate: f64) -> Self {
        Self::from(0, audiences, rate)
    }

    /// To one stream only.
    pub(crate) fn to(stream: u32, audience: u64, rate: f64) -> Self {
        Self::from(stream, vec![audience], rate)
    }

    fn from(first: u32, audiences: Vec<u64>, rate: f64) -> Self {
        let pacer = Pacer::new(rate, clock::now());
        Self { first, audiences, place: 0, rate, pacer }
    }

    /// The pace begins now.
    pub(crate) fn begin(&mut self, now: u64) {
        self.pacer = Pacer::new(self.rate, now);
    }

    /// When something is due next.
    pub(crate) fn due(&self) -> u64 {
        self.pacer.next()
    }

    /// How many were sent behind their time since the pace began.
    pub(crate) fn late(&self) -> u64 {
        self.pacer.late
    }

    /// The next publication.
    pub(crate) fn publication(&mut self) -> Publication {
        let place = self.place;
        self.place = (place + 1) % self.audiences.len().max(1);
        let stream = self.first.saturating_add(u32::try_from(place).unwrap_or(0));
        Publication { stream, audience: self.audiences.get(place).copied().unwrap_or(0) }
    }

    /// Publishes what is due.
    pub(crate) fn publish_due(&mut self, bench: &mut Bench, now: u64) -> anyhow::Result<()> {
        while self.pacer.due(now) {
            if !bench.crowd.publishers.publish(self.publication()) {
                anyhow::bail!(
                    "the server takes fewer publications than {} a second: lower --rate, or raise \
                     --publishers",
                    self.rate
                );
            }
        }
        Ok(())
    }

    pub(crate) fn run(
        &mut self,
        bench: &mut Bench,
        listener: &mut impl Listener,
        seconds: f64,
        what: &'static str,
    ) -> anyhow::Result<()> {
        let progress = bench::progress(what, 0);
        let begun = clock::now();
        let end = begun + clock::seconds(seconds);
        self.begin(begun);
        loop {
            let now = clock::now();
            if bench.crowd.check().is_err() {
                break;
            }
            if now >= end {
                self.publish_due(bench, end.saturating_sub(1))?; // what a busy machine left behind
                break;
            }
            self.publish_due(bench, now)?;
            bench.crowd.turn(clock::until(self.due().min(end), now), listener)?;
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Waits for what is on its way: first the answers to publications, as only those say how many
    /// deliveries there have to be.
    pub(crate) fn drain<L: Listener>(
        bench: &mut Bench,
        listener: &mut L,
        came: impl Fn(&L) -> u64,
    ) -> anyhow::Result<()> {
        let pending = count(bench.crowd.publishers.pending());
        let before = bench.crowd.publishers.accepted;
        bench.wait("publications under way", pending, listener, |_, crowd| {
            crowd.publishers.accepted - before
        })?;
        let goal = bench.crowd.publishers.expected;
        bench.wait("deliveries under way", goal, listener, |listener, _| came(listener))
    }
}
