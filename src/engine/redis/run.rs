//! Runs of a server.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

/// A run of a server, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Random; the same for all runs if the server doesn't say it.
    pub(super) id: Arc<str>,
    /// How long it has lasted.
    pub(super) age: Duration,
    /// Whether the messages of a slot stay at its master.
    pub(super) has_shard_channels: bool,
}

impl Run {
    /// From the answer to `INFO server`.
    pub(super) fn read(info: &Value, has_shard_channels: bool) -> Option<Self> {
        let info = text(info)?;
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let age = field("uptime_in_seconds").and_then(|age| age.parse().ok()).unwrap_or(u64::MAX);
        let id = field("run_id").unwrap_or("-").into();
        Some(Self { id, age: Duration::from_secs(age), has_shard_channels })
    }
}

/// A text, in whichever way it is sent.
pub(super) fn text(value: &Value) -> Option<&str> {
    if let Value::BulkString(bytes) = value {
        std::str::from_utf8(bytes).ok()
    } else if let Value::SimpleString(text) | Value::VerbatimString { text, .. } = value {
        Some(text)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_an_id_and_an_age() {
        let run = |info: &str| Run::read(&Value::BulkString(info.into()), false).unwrap();
        let Run { id, age, .. } = run("# Server\r\nrun_id:0123abc\r\nuptime_in_seconds:7\r\n");
        assert_eq!((&*id, age), ("0123abc", Duration::from_secs(7)));
        let Run { id, age, .. } = run("# Server\r\n");
        assert_eq!((&*id, age), ("-", Duration::from_secs(u64::MAX)));
        assert_eq!(Run::read(&Value::Nil, false), None);
    }
}
