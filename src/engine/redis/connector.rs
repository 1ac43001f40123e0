//! Connecting to a server: the one place that knows how.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionInfo, PushInfo, cmd};

use super::fault::{Fault, Speaker};
use super::hello::Hello;
use super::link;
use super::run::Run;
use super::settings::RedisSettings;
use crate::engine::settings::EngineSettings;

/// Makes connections to servers.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) settings: RedisSettings,
    speaker: Speaker,
}

impl Connector {
    pub(super) fn new(settings: &EngineSettings, redis: &RedisSettings) -> Self {
        let speaker = Speaker {
            address: redis.address().to_owned(),
            is_encrypted: redis.is_encrypted(),
            is_cluster: false,
            timeout: settings.timeout,
            prefix: settings.cluster.to_string(),
        };
        Self { settings: redis.clone(), speaker }
    }

    /// Says what faults of its connections mean.
    pub(super) fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// The same for a server of a Redis Cluster.
    pub(super) fn of_cluster(mut self, place: &str) -> Self {
        place.clone_into(&mut self.speaker.address);
        self.speaker.is_cluster = true;
        self
    }

    /// Makes a connection to a run of a server that can be written to. `push` gets what Redis sends unasked, and the
    /// connection's end.
    pub(super) async fn connect(
        &self,
        server: &ConnectionInfo,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(MultiplexedConnection, Run), Fault> {
        let push = move |info| {
            push(info);
            Ok::<(), ()>(())
        };
        let connection = self.open(server.clone(), self.config().set_push_sender(push)).await?;
        let hello = Hello::read(&link::ask(&connection, &cmd("HELLO")).await?)?;
        hello.check(self.speaker.is_cluster)?;
        let mut info = cmd("INFO");
        info.arg("server");
        let info = link::ask(&connection, &info).await?;
        let run = Run::read(&info, hello.has_shard_channels());
        Ok((connection, run.ok_or(Fault::Unexpected)?))
    }

    /// Makes a connection to any server, only to ask it something.
    pub(super) async fn visit(
        &self,
        server: &ConnectionInfo,
    ) -> Result<MultiplexedConnection, Fault> {
        self.open(server.clone(), self.config()).await
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
