//! Connecting to a server: the one place that knows how.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, Value, cmd};

use super::fault::{Fault, Speaker};
use super::link;
use super::settings::RedisSettings;
use crate::engine::settings::EngineSettings;

/// The oldest version that has all that is used (`XTRIM MINID`).
const OLDEST: (u16, u16) = (6, 2);

/// Makes connections to a server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    settings: RedisSettings,
    speaker: Speaker,
}

impl Connector {
    pub(super) fn new(settings: &EngineSettings, redis: &RedisSettings) -> Self {
        let speaker = Speaker {
            address: redis.address().to_owned(),
            is_encrypted: redis.is_encrypted(),
            timeout: settings.timeout,
            prefix: settings.cluster.to_string(),
        };
        Self { settings: redis.clone(), speaker }
    }

    /// Says what faults of its connections mean.
    pub(super) fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Makes a connection. `push` gets what Redis sends unasked, and the connection's end.
    pub(super) async fn connect(
        &self,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, Fault> {
        let push = move |info| {
            push(info);
            Ok::<(), ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.speaker.timeout))
            .set_response_timeout(Some(self.speaker.timeout))
            .set_push_sender(push);
        let client = self.settings.client();
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = connection.map_err(|error| match error {
            error if error.is_timeout() && self.speaker.is_encrypted => Fault::NoHandshake,
            error if error.is_connection_dropped() && !error.is_connection_refusal() => {
                Fault::Rejected
            }
            error => Fault::Redis(error),
        })?;
        check(link::ask(&connection, &cmd("HELLO")).await?)?;
        Ok(connection)
    }
}

/// Checks what the server says of itself.
fn check(hello: Value) -> Result<(), Fault> {
    let Value::Map(facts) = hello else { return Err(Fault::Unexpected) };
    let fact = |name: &str| {
        facts.iter().find_map(|(key, value)| (text(key)? == name).then(|| text(value)).flatten())
    };
    let (Some(version), Some(mode), Some(role)) = (fact("version"), fact("mode"), fact("role"))
    else {
        return Err(Fault::Unexpected);
    };
    let mut numbers = version.split('.').map(|number| number.parse::<u16>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
        return Err(Fault::Version(version.to_owned()));
    }
    if mode != "standalone" {
        return Err(Fault::Mode(mode.to_owned()));
    }
    if role != "master" {
        return Err(Fault::Replica);
    }
    Ok(())
}

fn text(value: &Value) -> Option<&str> {
    if let Value::BulkString(bytes) = value {
        std::str::from_utf8(bytes).ok()
    } else if let Value::SimpleString(text) = value {
        Some(text)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: &str, mode: &str, role: &str) -> Result<(), Fault> {
        let text = |text: &str| Value::BulkString(text.into());
        let fact = |key, value| (text(key), text(value));
        let proto = (text("proto"), Value::Int(3));
        check(Value::Map(vec![
            proto,
            fact("version", version),
            fact("mode", mode),
            fact("role", role),
        ]))
    }

    #[test]
    fn only_a_primary_that_is_new_enough_will_do() {
        for version in ["6.2.0", "7.0.15", "10.1", "255.255.255"] {
            assert!(hello(version, "standalone", "master").is_ok(), "{version}");
        }
        for version in ["6.0.16", "5.9", "x"] {
            let refused = hello(version, "standalone", "master");
            assert!(matches!(refused, Err(Fault::Version(_))), "{version}");
        }
        assert!(matches!(hello("7.0", "cluster", "master"), Err(Fault::Mode(_))));
        assert!(matches!(hello("7.0", "standalone", "replica"), Err(Fault::Replica)));
        assert!(matches!(check(Value::Okay), Err(Fault::Unexpected)));
    }
}
