//! Time as far as the engine is heard.
//!
//! While nothing is heard of the engine, clients that come back can't be present, so no TTL goes on: what expires is
//! decided in the time in which beats came.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time without that in which no beats came.
#[derive(Debug)]
pub struct LogTime {
    /// Silence that still counts as time.
    slack: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// When the last beat was heard, once one was.
    heard: Option<Instant>,
    /// All silence before it.
    silence: Duration,
}

impl LogTime {
    /// Of a node that hears a beat at least every `interval`.
    pub fn new(interval: Duration) -> Self {
        let state = State { heard: None, silence: Duration::ZERO };
        Self { slack: 2 * interval, state: Mutex::new(state) }
    }

    /// A beat was heard.
    pub fn hear(&self, now: Instant) {
        let mut state = self.state.lock();
        let silence = state.silence_since(now, self.slack);
        state.silence += silence;
        state.heard = Some(now);
    }

    /// The time of the logs at a time of the clock.
    pub fn at(&self, now: Instant) -> Instant {
        let state = *self.state.lock();
        let silence = state.silence + state.silence_since(now, self.slack);
        now.checked_sub(silence).unwrap_or(now)
    }

    /// For how long nothing has been heard.
    pub fn silence(&self, now: Instant) -> Duration {
        self.state.lock().silence_since(now, Duration::ZERO)
    }

    /// When the clock shows a time of the logs; `None` while they stand still.
    pub fn due(&self, at: Instant, now: Instant) -> Option<Instant> {
        let state = *self.state.lock();
        let stands = !state.silence_since(now, self.slack).is_zero();
        (!stands).then(|| at + state.silence)
    }
}

impl State {
    fn silence_since(&self, now: Instant, slack: Duration) -> Duration {
        let since = self.heard.map(|heard| now.saturating_duration_since(heard));
        since.unwrap_or_default().saturating_sub(slack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_left_out_but_for_two_intervals() {
        let start = Clock::new().now();
        let time = LogTime::new(SECOND);
        let passed = |at: u32| time.at(start + at * SECOND) - start;
        assert_eq!(passed(100), 100 * SECOND, "nothing has begun");
        time.hear(start + 100 * SECOND);
        assert_eq!([101, 102, 103, 200].map(passed), [101, 102, 102, 102].map(|it| it * SECOND));
        let due = |at: u32, now: u32| time.due(start + at * SECOND, start + now * SECOND);
        assert_eq!(due(102, 101), Some(start + 102 * SECOND));
        assert_eq!(due(103, 150), None);
        time.hear(start + 200 * SECOND);
        assert_eq!([200, 201].map(passed), [102, 103].map(|it| it * SECOND));
        assert_eq!(due(103, 200), Some(start + 201 * SECOND));
    }
}
