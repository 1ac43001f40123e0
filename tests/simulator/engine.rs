//! An engine in memory: it orders batches, keeps them, and loses them.

use std::time::Instant;

use broker::cluster::Batch;
use broker::log::Position;

use crate::faults::Fate;

/// Bits of a position that are an item's place in its batch; the others are the batch's cursor.
pub(crate) const POSITION_BITS: u32 = 12;

/// A batch in the log.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    pub(crate) first: Position,
    pub(crate) at: u64,
    /// None where the log goes on without what nodes may have had that are gone.
    pub(crate) batch: Option<Batch>,
    /// Another one at the same place has another number.
    pub(crate) nonce: u64,
    /// When it was appended, by the clock on the wall.
    pub(crate) when: Instant,
    /// How often the engine's clock had jumped ahead.
    pub(crate) jumps: u32,
}

/// A log.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) log: Vec<Appended>,
    /// Its clock, in milliseconds of the Unix epoch.
    pub(crate) unix: u64,
    /// What is on its way to it: the node that sent it has given it up, or will append it once more.
    pub(crate) delayed: Vec<Batch>,
    /// Number of appends.
    appends: u64,
    jumps: u32,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let unix = 1_000_000_000; // so that there is an hour to go back
        Self { log: Vec::new(), unix, delayed: Vec::new(), appends: 0, jumps: 0 }
    }

    /// Has the log go on without what nodes may have had that are gone.
    pub(crate) fn fork(&mut self, now: Instant) {
        self.push(None, now);
    }

    /// Appends a batch; returns whether the node knows.
    pub(crate) fn append(&mut self, batch: &Batch, fate: Fate, now: Instant) -> bool {
        match fate {
            Fate::Stored | Fate::Unanswered => self.push(Some(batch.clone()), now),
            Fate::Delayed => self.delayed.push(batch.clone()),
            Fate::Lost => {}
        }
        matches!(fate, Fate::Stored)
    }

    /// Something arrives that was on its way.
    pub(crate) fn arrive(&mut self, number: usize, now: Instant) {
        if !self.delayed.is_empty() {
            let batch = self.delayed.remove(number % self.delayed.len());
            self.push(Some(batch), now);
        }
    }

    /// Its clock is set.
    pub(crate) fn jump(&mut self, milliseconds: i64) {
        self.jumps += u32::from(milliseconds > 0);
        self.unix = self.unix.saturating_add_signed(milliseconds);
    }

    fn push(&mut self, batch: Option<Batch>, when: Instant) {
        let first = Position((self.log.len() as u64 + 1) << POSITION_BITS);
        self.appends += 1;
        let (at, nonce, jumps) = (self.unix, self.appends, self.jumps);
        self.log.push(Appended { first, at, batch, nonce, when, jumps });
    }
}
