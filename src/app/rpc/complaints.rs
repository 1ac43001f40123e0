//! Log lines about failing calls: of each kind at most one in a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strum::VariantArray as _;

use super::attempt::{Fault, FaultKind};
use crate::clock::Clock;

/// Minimum time between two lines of one kind.
const QUIET: Duration = Duration::from_secs(10);

/// The faults that were logged.
#[derive(Debug)]
pub(super) struct Complaints {
    clock: Arc<Clock>,
    kinds: Mutex<Vec<(FaultKind, Option<Instant>, u64)>>,
}

impl Complaints {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        let kinds = FaultKind::VARIANTS.iter().map(|kind| (*kind, None, 0)).collect();
        Self { clock, kinds: Mutex::new(kinds) }
    }

    /// Logs a fault, unless one of its kind was logged recently.
    pub(super) fn tell(&self, command: &'static str, fault: &Fault) {
        if let Some(untold) = self.is_due(fault.kind) {
            tracing::warn!(
                command,
                failures_not_told = untold,
                "failed to call the application: {}; {}",
                fault.text,
                fault.kind.advice()
            );
        }
    }

    /// The number of faults of a kind since the last line, if the next is due.
    fn is_due(&self, kind: FaultKind) -> Option<u64> {
        let now = self.clock.now();
        let mut kinds = self.kinds.lock();
        let (_, told, untold) = kinds.iter_mut().find(|(known, ..)| *known == kind)?;
        if told.is_some_and(|told| now < told + QUIET) {
            *untold += 1;
            return None;
        }
        *told = Some(now);
        Some(std::mem::take(untold))
    }
}
