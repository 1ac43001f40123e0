//! How many calls the application has at a time: as many as get through, found out by adding one after a
//! round of successes and halving on a sign of overload, as TCP does.

/// Where it begins; what applications with a thread pool of 30 bear.
const START: f64 = 25.0;
const MIN: f64 = 5.0;
const MAX: f64 = 100.0;

/// The limit, and the state it is found out from.
#[derive(Debug)]
pub(super) struct Limit {
    /// `None` is a fixed one.
    adapts: Option<f64>,
    fixed: usize,
    /// Calls that began before this one say nothing about the current limit.
    since: u64,
}

impl Limit {
    /// A fixed limit, or one that is found out.
    pub(super) fn new(fixed: Option<usize>) -> Self {
        let adapts = if fixed.is_some() { None } else { Some(START) };
        Self { adapts, fixed: fixed.unwrap_or_default(), since: 0 }
    }

    /// The current limit; at least 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between MIN and MAX"
    )]
    pub(super) fn current(&self) -> usize {
        self.adapts.map_or(self.fixed, |limit| limit as usize)
    }

    /// Whether it was given.
    pub(super) fn is_fixed(&self) -> bool {
        self.adapts.is_none()
    }

    /// An answer came, and all of the limit was used.
    pub(super) fn succeeded(&mut self) {
        if let Some(limit) = &mut self.adapts {
            *limit = (*limit + 1.0 / *limit).min(MAX);
        }
    }

    /// The application had too much to do with call `began`, the number of which is below `next`. Halves the limit
    /// once for all calls that were under way.
    pub(super) fn overloaded(&mut self, began: u64, next: u64) {
        let Some(limit) = &mut self.adapts else { return };
        if began >= self.since {
            *limit = (*limit / 2.0).max(MIN);
            self.since = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_a_round_and_halves_once_for_all_under_way() {
        let mut limit = Limit::new(None);
        assert_eq!(limit.current(), 25);
        for _ in 0..26 {
            limit.succeeded();
        }
        assert_eq!(limit.current(), 26);
        for call in 0..26 {
            limit.overloaded(call, 26);
        }
        assert_eq!(limit.current(), 13);
        limit.overloaded(26, 40);
        assert_eq!(limit.current(), 6);
        limit.overloaded(40, 41);
        limit.overloaded(41, 42);
        assert_eq!(limit.current(), 5);
        for _ in 0..100_000 {
            limit.succeeded();
        }
        assert_eq!(limit.current(), 100);
    }

    #[test]
    fn a_fixed_one_stays() {
        let mut limit = Limit::new(Some(7));
        limit.succeeded();
        limit.overloaded(0, 1);
        assert_eq!(limit.current(), 7);
    }
}
