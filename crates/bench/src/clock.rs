//! The one place that reads the time, as nanoseconds since the program started.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "this is the program's one clock")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the first call. Monotonic, and short enough to travel in a publication.
#[expect(clippy::disallowed_methods, reason = "this is the program's one clock")]
pub(crate) fn now() -> u64 {
    nanoseconds(START.elapsed())
}

/// A duration in the unit of this clock.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds in the unit of this clock.
pub(crate) fn seconds(seconds: f64) -> u64 {
    nanoseconds(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// How long it is until `then`; nothing if that has passed.
pub(crate) fn until(then: u64, now: u64) -> Duration {
    Duration::from_nanos(then.saturating_sub(now))
}
