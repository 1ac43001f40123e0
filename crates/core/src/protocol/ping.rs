//! Settings of a protocol's own pings, and a client's changes to them in its URL.

use std::time::Duration;

use super::query::parameter;

/// Precision of a ping's timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PingPrecision {
    /// Seconds of the Unix epoch.
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl PingPrecision {
    /// Reads `s`, `ms` or `ns`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Milliseconds),
            "ns" => Some(Self::Nanoseconds),
            _ => None,
        }
    }

    /// Converts a time since the Unix epoch.
    pub fn timestamp(self, since_epoch: Duration) -> u64 {
        match self {
            Self::Seconds => since_epoch.as_secs(),
            Self::Milliseconds => u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            Self::Nanoseconds => u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// Pings of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingParameters {
    /// Interval; zero disables pings.
    pub ping_interval: Duration,
    /// Precision of the timestamp.
    pub ping_precision: PingPrecision,
}

impl PingParameters {
    /// Maximum interval that a client can set, in seconds.
    const LONGEST_INTERVAL: f64 = 3600.0;

    /// These settings with the changes of a URL's query: `?pi=SECONDS` and `?ptp=s|ms|ns`. Invalid values are
    /// ignored.
    #[must_use]
    pub fn with_query(mut self, query: &str) -> Self {
        let seconds = parameter(query, "pi").and_then(|value| value.parse().ok());
        if let Some(seconds) = seconds.filter(|seconds: &f64| *seconds >= 0.0) {
            let seconds = seconds.min(Self::LONGEST_INTERVAL);
            self.ping_interval = Duration::from_secs_f64(seconds);
        }
        let precision = parameter(query, "ptp").and_then(|value| PingPrecision::parse(&value));
        self.ping_precision = precision.unwrap_or(self.ping_precision);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_sets_the_ping() {
        let default = PingParameters {
            ping_interval: Duration::from_secs(3),
            ping_precision: PingPrecision::Seconds,
        };
        let asked = default.with_query("sid=x&pi=0.5&ptp=ms");
        assert_eq!(asked.ping_interval, Duration::from_millis(500));
        assert_eq!(asked.ping_precision, PingPrecision::Milliseconds);
        for nonsense in ["pi=-1", "pi=NaN", "pi=x", "ptp=days", "pi", ""] {
            assert_eq!(default.with_query(nonsense), default, "{nonsense}");
        }
        assert_eq!(default.with_query("pi=inf").ping_interval, Duration::from_secs(3600));
    }
}
