//! An engine in memory: it orders batches, and keeps them all.

use broker::cluster::Batch;
use broker::log::Position;

use crate::faults::Fate;

/// A batch in the log.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    pub(crate) first: Position,
    pub(crate) at: u64,
    /// None where the log goes on without what nodes may have had that are gone.
    pub(crate) batch: Option<Batch>,
}

/// A log.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) log: Vec<Appended>,
    next: u64,
    /// Its clock, in milliseconds of the Unix epoch.
    pub(crate) unix: u64,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self { log: Vec::new(), next: 0, unix: 1_000_000 }
    }

    /// Has the log go on without what nodes may have had that are gone.
    pub(crate) fn fork(&mut self) {
        self.next += 1;
        self.log.push(Appended { first: Position(self.next), at: self.unix, batch: None });
    }

    /// Appends a batch; returns whether the node knows.
    pub(crate) fn append(&mut self, batch: &Batch, fate: Fate) -> bool {
        if !matches!(fate, Fate::Lost) {
            let first = Position(self.next + 1);
            self.next += batch.items.len() as u64;
            self.log.push(Appended { first, at: self.unix, batch: Some(batch.clone()) });
        }
        matches!(fate, Fate::Stored)
    }
}
