//! Rate limit of a connection: a token bucket. The caller passes the time, in beats.
//!
//! The bucket has two levels in tenths of a command, so that each beat (a tenth of a second) changes them
//! by the rate. `left` is what may still be sent. `refused` counts commands beyond it and falls at the
//! same rate. So a client up to twice the rate is refused the excess, and a faster one is closed.

use crate::net::heartbeat::BEATS_A_SECOND;
use crate::types::Pace;

/// Decision about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is within the rate.
    Follow,
    /// It exceeds the rate.
    Refuse,
    /// It exceeds the rate, as too many frames did before.
    Close,
}

/// One connection's bucket, with the beat of its last change.
#[derive(Debug)]
pub(super) struct Throttle {
    left: u32,
    refused: u32,
    beat: u32,
}

impl Throttle {
    /// A full bucket. Without a `pace` it isn't used.
    pub(super) fn new(pace: Option<Pace>, beat: u32) -> Self {
        Self { left: pace.map_or(0, full), refused: 0, beat }
    }

    /// Decides about a frame received at a beat.
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
