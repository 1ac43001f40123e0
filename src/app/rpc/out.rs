//! The calls of a lane that are out, and which of them hang: those out for several times as long as the lane's answers
//! usually take. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A call hangs after so many times of what answers take. Answers of one kind of work seldom differ that much.
const TIMES: u32 = 5;

/// The least time after which a call hangs: a pause of the application's garbage collector is shorter.
const MIN_PATIENCE: Duration = Duration::from_millis(50);

/// Time after which a call hangs before there has been an answer.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// One answer has this part in the usual time.
const WEIGHT: u32 = 16;

/// The calls that are out.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Those that don't hang: their numbers, ascending, and when they were sent.
    busy: VecDeque<(u64, Instant)>,
    hanging: usize,
    /// What answers take.
    usual: Option<Duration>,
}

impl Out {
    /// Call `number`, above those before, is sent.
    pub(super) fn send(&mut self, number: u64, now: Instant) {
        self.busy.push_back((number, now));
    }

    /// Calls that are out for too long hang from now on, whatever answers take later.
    pub(super) fn look(&mut self, now: Instant) {
        while self.hangs_at().is_some_and(|at| at <= now) {
            self.busy.pop_front();
            self.hanging += 1;
        }
    }

    /// When the next call hangs.
    pub(super) fn hangs_at(&self) -> Option<Instant> {
        self.busy.front().map(|(_, sent)| *sent + self.patience())
    }

    /// A call has ended; whether it hung.
    pub(super) fn finish(&mut self, number: u64) -> bool {
        if let Ok(at) = self.busy.binary_search_by_key(&number, |(number, _)| *number) {
            self.busy.remove(at);
            false
        } else {
            self.hanging -= 1;
            true
        }
    }

    /// An answer took so long.
    pub(super) fn answered(&mut self, took: Duration) {
        self.usual = Some(match self.usual {
            Some(usual) => (usual * (WEIGHT - 1) + took) / WEIGHT,
            None => took,
        });
    }

    /// Number of calls that don't hang.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// Number of calls.
    pub(super) fn all(&self) -> usize {
        self.busy.len() + self.hanging
    }

    fn patience(&self) -> Duration {
        self.usual.map_or(FIRST_PATIENCE, |usual| (usual * TIMES).max(MIN_PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const MS: Duration = Duration::from_millis(1);

    /// After how long a call hangs.
    fn patience(out: &Out) -> Duration {
        let now = Clock::new().now();
        let mut copy = Out { usual: out.usual, ..Out::default() };
        copy.send(0, now);
        copy.hangs_at().unwrap() - now
    }

    #[test]
    fn a_call_hangs_after_several_times_of_what_answers_take() {
        let mut out = Out::default();
        assert_eq!(patience(&out), 1000 * MS);
        out.answered(2 * MS);
        assert_eq!(patience(&out), 50 * MS, "the least");
        for _ in 0..100 {
            out.answered(300 * MS);
        }
        assert!((1490 * MS..=1500 * MS).contains(&patience(&out)), "{:?}", patience(&out));
        out.answered(4000 * MS);
        assert!(patience(&out) < 2700 * MS, "one is no rule: {:?}", patience(&out));
        for _ in 0..100 {
            out.answered(20 * MS);
        }
        assert!((100 * MS..=110 * MS).contains(&patience(&out)), "{:?}", patience(&out));
    }

    #[test]
    fn a_call_that_hangs_doesnt_count_until_it_ends() {
        let (mut out, now) = (Out::default(), Clock::new().now());
        for number in 0..3 {
            out.send(number, now + MS * u32::try_from(number).unwrap());
        }
        out.look(now + 1000 * MS);
        assert_eq!((out.busy(), out.all()), (2, 3));
        for _ in 0..100 {
            out.answered(4000 * MS);
        }
        assert_eq!((out.busy(), out.all()), (2, 3), "it hangs still");
        assert_eq!([out.finish(2), out.finish(0)], [false, true]);
        assert_eq!((out.busy(), out.all()), (1, 1));
    }
}
