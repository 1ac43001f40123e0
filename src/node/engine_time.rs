//! The engine's time, as far as this node can tell.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A batch that took longer than this to come back says little about the engine's clock.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(1);

/// Until a batch of this node has come back.
const UNKNOWN: i64 = i64::MIN;

/// How far this node's clock is ahead of the engine's: found from the node's own batches, which the engine stamps
/// between their departure and their return. So no clocks need to agree.
#[derive(Debug)]
pub(super) struct EngineTime {
    start: Instant,
    /// Milliseconds since `start` less the engine's time, at least.
    ahead: AtomicI64,
}

impl EngineTime {
    /// Counts from `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self { start, ahead: AtomicI64::new(UNKNOWN) }
    }

    /// A batch that left at `sent` is back, with the engine's time `at` in milliseconds of the Unix epoch.
    pub(super) fn note_return(&self, at: u64, sent: Instant, now: Instant) {
        let is_short = now.saturating_duration_since(sent) < MAX_ROUND_TRIP;
        if is_short || self.ahead.load(Ordering::Relaxed) == UNKNOWN {
            self.ahead.store(self.since_start(sent).saturating_sub(signed(at)), Ordering::Relaxed);
        }
    }

    /// The time since the engine took a batch, at most a round trip too long; `None` until that is known.
    pub(super) fn since(&self, at: u64, now: Instant) -> Option<Duration> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        if ahead == UNKNOWN {
            return None;
        }
        let since = self.since_start(now).saturating_sub(signed(at)).saturating_sub(ahead);
        Some(Duration::from_millis(u64::try_from(since).unwrap_or(0)))
    }

    /// The engine's time in milliseconds of the Unix epoch, at most a round trip late; `None` until that is known.
    pub(super) fn at(&self, now: Instant) -> Option<u64> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let at = (ahead != UNKNOWN).then(|| self.since_start(now).saturating_sub(ahead));
        at.and_then(|at| u64::try_from(at).ok())
    }

    fn since_start(&self, at: Instant) -> i64 {
        signed(at.saturating_duration_since(self.start).as_millis())
    }
}

fn signed(millis: impl TryInto<i64>) -> i64 {
    millis.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_round_trip_tells_the_engines_time() {
        let start = Clock::new().now();
        let at = |millis| start + Duration::from_millis(millis);
        let time = EngineTime::new(start);
        assert_eq!(time.since(5_000_000, at(70)), None);
        assert_eq!(time.at(at(70)), None);
        time.note_return(5_000_000, at(50), at(60));
        assert_eq!(time.at(at(60)), Some(5_000_010));
        assert_eq!(time.since(5_000_000, at(60)), Some(Duration::from_millis(10)));
        assert_eq!(time.since(5_001_000, at(3050)), Some(Duration::from_secs(2)));
        assert_eq!(time.since(5_009_000, at(3050)), Some(Duration::ZERO), "its clock has jumped");
        time.note_return(9_000_000, at(4000), at(5000));
        assert_eq!(time.since(5_003_950, at(4000)), Some(Duration::ZERO), "that was too slow");
        time.note_return(9_000_000, at(6000), at(6001));
        assert_eq!(time.since(9_000_000, at(6500)), Some(Duration::from_millis(500)));
    }
}
