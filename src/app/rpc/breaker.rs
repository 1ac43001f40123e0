//! Whether calls get through to the application at all. When none does, calls wait instead of being sent, but
//! for one now and then that tries.

use std::time::{Duration, Instant};

/// Number of calls in a row that didn't get through, and …
const FAILURES: u32 = 10;

/// … the time over which they didn't, before no more are sent. A restart of the application may be quicker.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time between two calls that try.
const PAUSE: Duration = Duration::from_millis(500);

/// The breaker. Pure: the time is given.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    /// Calls in a row that didn't get through, and when the first of them didn't.
    failures: Option<(u32, Instant)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Calls are sent.
    #[default]
    Closed,
    /// None is sent until then, and one then.
    Open(Instant),
}

/// How many calls may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lets {
    /// Any number.
    All,
    /// One, which is taken by [`Breaker::tries`].
    One,
    /// None until then.
    None(Instant),
}

impl Breaker {
    /// How many calls may be sent now.
    pub(super) fn lets(&self, now: Instant) -> Lets {
        match self.state {
            State::Closed => Lets::All,
            State::Open(until) if now < until => Lets::None(until),
            State::Open(_) => Lets::One,
        }
    }

    /// Whether nothing gets through.
    pub(super) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// A call is sent to try. If it hangs, another one tries, too.
    pub(super) fn tries(&mut self, now: Instant) {
        self.state = State::Open(now + PAUSE);
    }

    /// A call got through.
    pub(super) fn reached(&mut self) {
        *self = Self::default();
    }

    /// A call, which tried or didn't, ended without a sign of either.
    pub(super) fn unknown(&mut self, tried: bool, now: Instant) {
        if tried && self.is_open() {
            self.state = State::Open(now + PAUSE);
        }
    }

    /// A call didn't get through; whether it tried.
    pub(super) fn missed(&mut self, tried: bool, now: Instant) {
        let (count, since) = self.failures.unwrap_or((0, now));
        let count = count.saturating_add(1);
        self.failures = Some((count, since));
        let is_out = count >= FAILURES && now.saturating_duration_since(since) >= PATIENCE;
        match self.state {
            State::Closed if is_out => self.state = State::Open(now + PAUSE),
            State::Open(_) if tried => self.state = State::Open(now + PAUSE),
            State::Closed | State::Open(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_nothing_gets_through_for_a_while() {
        let start = Clock::new().now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut breaker = Breaker::default();
        for call in 0..30 {
            breaker.missed(false, at(call));
            assert_eq!(breaker.lets(at(call)), Lets::All, "a restart");
        }
        breaker.reached();
        for call in 0..9 {
            breaker.missed(false, at(100 + call * 200));
        }
        assert_eq!(breaker.lets(at(2000)), Lets::All, "too few");
        breaker.missed(false, at(2000));
        assert!(breaker.is_open());
        assert_eq!(breaker.lets(at(2499)), Lets::None(at(2500)));
        assert_eq!(breaker.lets(at(2500)), Lets::One);
        breaker.tries(at(2500));
        breaker.missed(false, at(2600)); // one from before
        assert_eq!(breaker.lets(at(2999)), Lets::None(at(3000)));
        assert_eq!(breaker.lets(at(3000)), Lets::One, "it may hang");
        breaker.tries(at(9000));
        assert_eq!(breaker.lets(at(9400)), Lets::None(at(9500)));
        breaker.missed(false, at(9400));
        assert_eq!(breaker.lets(at(9400)), Lets::None(at(9500)));
        breaker.missed(true, at(9000));
        assert_eq!(breaker.lets(at(9500)), Lets::One);
        breaker.tries(at(9500));
        breaker.unknown(true, at(9600));
        assert_eq!(breaker.lets(at(9700)), Lets::None(at(10_100)));
        breaker.reached();
        assert_eq!((breaker.lets(at(9700)), breaker.is_open()), (Lets::All, false));
    }
}
