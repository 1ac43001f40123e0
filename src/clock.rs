//! The only place that reads the time.
//!
//! Time here is time in which the broker *ran*. After a gap (the process was stopped, a laptop
//! slept, a machine starved) the broker can't tell whether its clients went silent, so the gap is
//! left out: every TTL and timeout has as much left as before it, and clients have time to come
//! back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How often the clock is read when nothing else reads it.
const TICK: Duration = Duration::from_millis(100);

/// A longer gap between two reads is a pause.
const LONGEST_GAP: Duration = Duration::from_secs(1);

/// Length of a beat, the coarse time that most things use, in four bytes.
pub const BEAT: Duration = Duration::from_millis(100);

/// Monotonic time without pauses.
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

    /// The current time.
    pub fn now(&self) -> Instant {
        let (now, gap) = self.look();
        if gap > LONGEST_GAP {
            // outside the lock, which every reader needs
            tracing::warn!(seconds = gap.as_secs_f64(), "the process was paused");
        }
        now
    }

    /// The current time, and the time since the last read.
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

    /// Number of beats from the clock's start to a time.
    pub fn beat(&self, at: Instant) -> u32 {
        let beats = at.saturating_duration_since(self.start).as_millis() / BEAT.as_millis();
        u32::try_from(beats).unwrap_or(u32::MAX / 2) // reached after seven years
    }

    /// When a beat began.
    pub fn began(&self, beat: u32) -> Instant {
        self.start + BEAT * beat
    }

    /// Total time of all pauses.
    pub fn paused(&self) -> Duration {
        self.state.lock().paused
    }

    /// Reads the clock often enough to detect pauses.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let paused = metrics::counter!(crate::telemetry::metrics::PAUSED_SECONDS);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.now();
            paused.absolute(self.paused().as_secs());
        }
    }

    /// The wall clock, for timestamps.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn unix(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Tokio's clock is the system's monotonic one, except in tests with paused time.
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
