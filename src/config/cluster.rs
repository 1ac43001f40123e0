//! Several nodes that share their streams, and the engine between them.

use std::path::Path;
use std::time::Duration;

use super::defaults;
use super::error::ConfigError;
use super::secret::{self, Secret};
use super::settings::Settings;
use super::value::{HumanDuration, NatsStorage};

/// This node's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// What is between the nodes.
    pub engine: EngineConfig,
    /// Name of the cluster.
    pub name: String,
    /// How long a silent node counts as there.
    pub lease: Duration,
    /// Maximum time that a request to the engine takes.
    pub timeout: Duration,
}

/// The engine, where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineConfig {
    /// Redis.
    Redis {
        /// Its URL; it may have a password.
        url: Secret,
        /// Sentinels that say where it is; they may have passwords.
        sentinels: Option<Secret>,
    },
    /// NATS.
    Nats {
        /// Addresses of its servers; they may have passwords.
        servers: Secret,
        /// Where it keeps streams.
        storage: NatsStorage,
    },
}

impl EngineConfig {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redis { .. } => "redis",
            Self::Nats { .. } => "nats",
        }
    }
}

impl ClusterConfig {
    /// The cluster, if there is an engine.
    pub(super) fn from_settings(
        settings: &mut Settings,
        (lease, timeout): (Duration, Duration),
    ) -> Result<Option<Self>, ConfigError> {
        let name = settings.cluster_name.take();
        let storage = settings.nats_storage.take().unwrap_or(defaults::NATS_STORAGE);
        let is_given = |secret: &Secret| secret.each().any(|part| !part.is_empty());
        let redis = settings.redis_url.take().filter(is_given);
        let redis = secret::read("redis-url", redis, settings.redis_url_file.take())?;
        let given = settings.redis_sentinels.take();
        let file = settings.redis_sentinels_file.take();
        let sentinels = secret::read("redis-sentinels", given, file)?;
        let nats = settings.nats_servers.take().filter(is_given);
        let nats = secret::read("nats-servers", nats, settings.nats_servers_file.take())?;
        let engine = match (redis, nats) {
            (Some(_), Some(_)) => return Err(ConfigError::TwoEngines),
            (None, _) if sentinels.is_some() => return Err(ConfigError::SentinelsAlone),
            (None, None) => return Ok(None),
            (Some(url), None) => EngineConfig::Redis { url, sentinels },
            (None, Some(servers)) => EngineConfig::Nats { servers, storage },
        };
        if settings.state_dir.is_some() {
            return Err(ConfigError::TwoKeepers);
        }
        let name = name.unwrap_or_else(|| defaults::CLUSTER_NAME.to_owned());
        Ok(Some(Self { engine, name, lease, timeout }))
    }

    /// The settings that result in a cluster, or in none, all set.
    pub(super) fn to_settings(cluster: Option<&Self>, settings: &mut Settings) {
        let split = |secret: Option<&Secret>| {
            let file = secret.and_then(Secret::file).map(Path::to_path_buf);
            (secret.filter(|_| file.is_none()).cloned(), file)
        };
        let (redis, nats) = (cluster.and_then(Self::redis), cluster.and_then(Self::nats));
        (settings.redis_url, settings.redis_url_file) = split(redis.map(|(url, _)| url));
        (settings.redis_sentinels, settings.redis_sentinels_file) =
            split(redis.and_then(|(_, sentinels)| sentinels));
        (settings.nats_servers, settings.nats_servers_file) =
            split(nats.map(|(servers, _)| servers));
        settings.nats_storage = Some(nats.map_or(defaults::NATS_STORAGE, |(_, storage)| storage));
        let name = cluster.map_or(defaults::CLUSTER_NAME, |it| &it.name);
        settings.cluster_name = Some(name.to_owned());
        let lease = cluster.map_or(defaults::NODE_LEASE, |it| it.lease);
        settings.node_lease = Some(HumanDuration(lease));
        let timeout = cluster.map_or(defaults::ENGINE_TIMEOUT, |it| it.timeout);
        settings.engine_timeout = Some(HumanDuration(timeout));
    }

    /// URL of Redis, if that is the engine, and its Sentinels.
    pub fn redis(&self) -> Option<(&Secret, Option<&Secret>)> {
        match &self.engine {
            EngineConfig::Redis { url, sentinels } => Some((url, sentinels.as_ref())),
            EngineConfig::Nats { .. } => None,
        }
    }

    /// Addresses of NATS, if that is the engine, and where streams are kept.
    pub fn nats(&self) -> Option<(&Secret, NatsStorage)> {
        match &self.engine {
            EngineConfig::Nats { servers, storage } => Some((servers, *storage)),
            EngineConfig::Redis { .. } => None,
        }
    }
}
