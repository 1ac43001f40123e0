//! Something to do so many times a second.

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    every: u64,
    next: u64,
    /// How often it was due later than a whole interval after its time.
    pub(crate) late: u64,
}

impl Pacer {
    pub(crate) fn new(rate: f64, now: u64) -> Self {
        let every = std::time::Duration::try_from_secs_f64(1.0 / rate);
        let every = every.map_or(u64::MAX / 4, crate::clock::nanoseconds).max(1);
        Self { every, next: now, late: 0 }
    }

    /// It is due from now on.
    pub(crate) fn begin(&mut self, now: u64) {
        self.next = now;
    }

    /// Whether it is to be done now. What is late is made up for, one call each.
    pub(crate) fn due(&mut self, now: u64) -> bool {
        let due = now >= self.next;
        if due {
            self.late += u64::from(now - self.next > self.every);
            self.next += self.every;
        }
        due
    }

    /// When it is due next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_whenever_one_looks() {
        let mut pacer = Pacer::new(1000.0, 5);
        assert!(pacer.due(5));
        assert!(!pacer.due(1_000_004));
        assert!(pacer.due(3_500_005) && pacer.due(3_500_005) && pacer.due(3_500_005));
        assert!(!pacer.due(3_500_005));
        assert_eq!((pacer.next(), pacer.late), (4_000_005, 2));
    }
}
