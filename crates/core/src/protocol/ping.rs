//! Pings of the protocol's own, as a client asks for them in the query of its URL.

use std::time::Duration;

use super::query::parameter;

/// How finely a ping's timestamp tells the time.
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

    /// A time since the Unix epoch in this precision.
    pub fn timestamp(self, since_epoch: Duration) -> u64 {
        match self {
            Self::Seconds => since_epoch.as_secs(),
            Self::Milliseconds => u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            Self::Nanoseconds => u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// When and how a connection is pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingParameters {
    /// How often the client is pinged; zero for never.
    pub ping_interval: Duration,
    /// How finely.
    pub ping_precision: PingPrecision,
}

impl PingParameters {
    /// Longest interval a client can ask for; more is as good as never.
    const LONGEST_INTERVAL: f64 = 3600.0;

    /// These settings with what the query asks for: `?pi=SECONDS` and `?ptp=s|ms|ns`. What can't
    /// be read is left as it is.
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
