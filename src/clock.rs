//! The only place that reads the time.
//!
//! Time here is time in which the broker *ran*. A process that was stopped, a laptop that slept
//! or a machine that starved can't be told from one whose clients all went silent, so such a gap
//! is left out: after it, every TTL and every timeout has as much left as before, and clients get
//! the time that is theirs to come back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the clock is looked at when nothing else does.
const TICK: Duration = Duration::from_millis(100);

/// A gap between two looks that is longer was a pause.
const LONGEST_GAP: Duration = Duration::from_secs(1);

/// The length of a beat: time as coarse as most things need it, in four bytes.
pub const BEAT: Duration = Duration::from_millis(100);

/// Monotonic time without the pauses.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Instant,
    paused: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Arc<Self> {
        let start = read();
        Arc::new(Self { start, state: Mutex::new(State { last: start, paused: Duration::ZERO }) })
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        let (now, gap) = self.look();
        if gap > LONGEST_GAP {
            // without the lock, which everyone needs
            tracing::warn!(seconds = gap.as_secs_f64(), "the process did not run for a while");
        }
        now
    }

    /// The time now, and how long ago it was last looked at.
    fn look(&self) -> (Instant, Duration) {
        let mut state = self.state.lock();
        let raw = read();
        let gap = raw.saturating_duration_since(state.last);
        if gap > LONGEST_GAP {
            state.paused += gap.saturating_sub(TICK);
        }
        state.last = raw;
        (raw.checked_sub(state.paused).unwrap_or(raw), gap)
    }

    /// How many beats have passed since the clock's start, at a time.
    pub fn beat(&self, at: Instant) -> u32 {
        let beats = at.saturating_duration_since(self.start).as_millis() / BEAT.as_millis();
        u32::try_from(beats).unwrap_or(u32::MAX / 2) // after seven years
    }

    /// When a beat began.
    pub fn began(&self, beat: u32) -> Instant {
        self.start + BEAT * beat
    }

    /// How long the broker has not run in all.
    pub fn paused(&self) -> Duration {
        self.state.lock().paused
    }

    /// Looks at the time often enough that a gap means a pause.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let paused = metrics::counter!(crate::telemetry::metrics::PAUSED_SECONDS);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.now();
            paused.absolute(self.paused().as_secs());
        }
    }

    /// The time of day, for timestamps that people and clients see.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn unix(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Tokio's clock is the system's monotonic one, unless a test holds it.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn read() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_left_out() {
        let clock = Clock::new();
        let start = clock.now();
        for _ in 0..20 {
            tokio::time::advance(TICK).await;
            clock.now();
        }
        assert_eq!(clock.now() - start, TICK * 20);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(clock.now() - start, TICK * 21);
        assert_eq!(clock.paused() + TICK, Duration::from_secs(3600));
    }
}
