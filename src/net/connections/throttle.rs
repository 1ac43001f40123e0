//! How fast a client may send: a token bucket for each connection, without a clock of its own.
//!
//! Two levels, both in tenths of a command, so that a beat of the heartbeat (a tenth of a second)
//! moves them by the rate itself. `left` is what may still be followed. `refused` is what came
//! beyond that; it is forgiven at the same rate, so that a client somewhat too fast is held to the
//! rate, and one that sends more than twice as much runs out of patience too.

use crate::net::heartbeat::BEATS_A_SECOND;
use crate::types::Pace;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is within what the client may send.
    Follow,
    /// It isn't.
    Refuse,
    /// It isn't, and too much wasn't before.
    Close,
}

/// One connection's bucket, as of a beat.
#[derive(Debug)]
pub(super) struct Throttle {
    left: u32,
    refused: u32,
    beat: u32,
}

impl Throttle {
    /// A full bucket; `None` for one that nobody asks.
    pub(super) fn new(pace: Option<Pace>, beat: u32) -> Self {
        Self { left: pace.map_or(0, full), refused: 0, beat }
    }

    /// Decides about a frame that came at a beat.
    pub(super) fn take(&mut self, pace: Pace, beat: u32) -> Verdict {
        let full = full(pace);
        let gained = beat.saturating_sub(self.beat).saturating_mul(pace.per_second);
        self.left = self.left.saturating_add(gained).min(full);
        self.refused = self.refused.saturating_sub(gained);
        self.beat = beat;
        if let Some(left) = self.left.checked_sub(BEATS_A_SECOND) {
            self.left = left;
            return Verdict::Follow;
        }
        self.refused = self.refused.saturating_add(BEATS_A_SECOND);
        if self.refused > full { Verdict::Close } else { Verdict::Refuse }
    }
}

fn full(pace: Pace) -> u32 {
    pace.burst.saturating_mul(BEATS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { per_second: 5, burst: 20 };

    /// How many of so many frames at a beat are followed, refused, and close the connection.
    fn send(throttle: &mut Throttle, beat: u32, frames: usize) -> [usize; 3] {
        let mut count = [0; 3];
        for _ in 0..frames {
            match throttle.take(PACE, beat) {
                Verdict::Follow => count[0] += 1,
                Verdict::Refuse => count[1] += 1,
                Verdict::Close => count[2] += 1,
            }
        }
        count
    }

    #[test]
    fn a_burst_is_followed_a_second_one_refused_and_no_third() {
        let mut throttle = Throttle::new(Some(PACE), 7);
        assert_eq!(send(&mut throttle, 7, 41), [20, 20, 1]);
    }

    #[test]
    fn it_fills_at_the_rate_and_no_further_than_a_burst() {
        let mut throttle = Throttle::new(Some(PACE), 0);
        assert_eq!(send(&mut throttle, 0, 20), [20, 0, 0]);
        assert_eq!(send(&mut throttle, 1, 1), [0, 1, 0], "half a command");
        assert_eq!(send(&mut throttle, 2, 2), [1, 1, 0]);
        assert_eq!(send(&mut throttle, 12, 6), [5, 1, 0], "a second");
        assert_eq!(send(&mut throttle, 1_000_000, 21), [20, 1, 0], "a long silence");
    }

    #[test]
    fn up_to_twice_the_rate_it_is_refused_and_stays() {
        let mut throttle = Throttle::new(Some(PACE), 0);
        let mut total = [0; 3];
        for beat in 0..10_000 {
            let count = send(&mut throttle, beat, 1); // ten a second
            (0..3).for_each(|which| total[which] += count[which]);
        }
        assert_eq!(total[2], 0);
        assert!((5_000..=5_020).contains(&total[0]), "{total:?}");
    }

    #[test]
    fn above_twice_the_rate_it_is_closed_in_the_end() {
        let mut throttle = Throttle::new(Some(PACE), 0);
        let closed = (0..100).find(|second| send(&mut throttle, second * 10, 11)[2] > 0);
        assert!(closed.is_some_and(|second| second > 5), "{closed:?}");
    }

    #[test]
    fn the_largest_settings_overflow_nothing() {
        let pace = Pace { per_second: u32::MAX, burst: u32::MAX };
        let mut throttle = Throttle::new(Some(pace), 0);
        for beat in [0, 1, u32::MAX, 0] {
            assert_eq!(throttle.take(pace, beat), Verdict::Follow);
        }
    }
}
