//! How long deliveries and answers took.

use hdrhistogram::Histogram;

/// The longest that is told apart, in microseconds: ten minutes.
const LONGEST: u64 = 600_000_000;

/// A histogram of microseconds, exact to a tenth of a percent.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("good bounds")
}
