//! Connecting to a server: the one place that knows how.

use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionInfo, PushInfo, Value, cmd};

use super::fault::{Fault, Speaker};
use super::link;
use super::run::{Run, text};
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

    /// Makes a connection, to a run of the server. `push` gets what Redis sends unasked, and the connection's end.
    pub(super) async fn connect(
        &self,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(MultiplexedConnection, Run), Fault> {
        let push = move |info| {
            push(info);
            Ok::<(), ()>(())
        };
        let server = self.locate().await?;
        let place = server.addr().to_string();
        let connection = self.open(server, self.config().set_push_sender(push)).await?;
        check(link::ask(&connection, &cmd("HELLO")).await?)?;
        let mut info = cmd("INFO");
        info.arg("server");
        let run =
            Run::read(&link::ask(&connection, &info).await?, &place).ok_or(Fault::Unexpected)?;
        Ok((connection, run))
    }

    /// Where the server is: with Sentinels, where the first of them that answers says that the primary is.
    async fn locate(&self) -> Result<ConnectionInfo, Fault> {
        if self.settings.sentinels().is_empty() {
            return Ok(self.settings.server());
        }
        let asked = self.settings.sentinels().iter().map(|it| Box::pin(self.ask_sentinel(it)));
        let ((host, port), _) = select_ok(asked).await?;
        Ok(self.settings.server_at(&host, port))
    }

    /// Where the primary is, as Sentinels say; `None` without Sentinels.
    pub(super) async fn primary(&self) -> Option<String> {
        if self.settings.sentinels().is_empty() {
            return None;
        }
        Some(self.locate().await.ok()?.addr().to_string())
    }

    /// Where a Sentinel says that the primary is.
    async fn ask_sentinel(&self, sentinel: &ConnectionInfo) -> Result<(String, u16), Fault> {
        let connection = self.open(sentinel.clone(), self.config()).await?;
        let mut ask = cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(self.settings.primary());
        let Value::Array(place) = link::ask(&connection, &ask).await? else {
            return Err(Fault::UnknownPrimary(self.settings.primary().to_owned()));
        };
        let [host, port] = &place[..] else { return Err(Fault::Unexpected) };
        let port = text(port).and_then(|port| port.parse().ok());
        let place = text(host).map(str::to_owned).zip(port);
        place.ok_or(Fault::Unexpected)
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.speaker.timeout))
            .set_response_timeout(Some(self.speaker.timeout))
    }

    async fn open(
        &self,
        info: ConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Fault> {
        let client = self.settings.client(info)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        connection.map_err(|error| match error {
            error if error.is_timeout() && self.speaker.is_encrypted => Fault::NoHandshake,
            error if error.is_connection_dropped() && !error.is_connection_refusal() => {
                Fault::Rejected
            }
            error => Fault::Redis(error),
        })
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
