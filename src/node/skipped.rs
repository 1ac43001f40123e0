//! Log lines about what is skipped in the logs: few, however much somebody writes there.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time between two log lines.
const QUIET: Duration = Duration::from_secs(10);

/// Says when a line is due.
#[derive(Debug, Default)]
pub(super) struct Skipped(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logged: Option<Instant>,
    /// How much was skipped since then.
    since: u64,
}

impl Skipped {
    /// Something is skipped. If that is to be logged: how much was since the last line, with this.
    pub(super) fn note(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        state.since += 1;
        if state.logged.is_some_and(|at| now < at + QUIET) {
            return None;
        }
        state.logged = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_line_comes_every_10_s_at_most_and_counts_what_it_leaves_out() {
        let (skipped, begun) = (Skipped::default(), Clock::new().now());
        let at = |seconds: u64| skipped.note(begun + Duration::from_secs(seconds));
        let lines = [0, 0, 5, 9, 10, 11, 40].map(at);
        assert_eq!(lines, [Some(1), None, None, None, Some(4), None, Some(2)]);
    }
}
