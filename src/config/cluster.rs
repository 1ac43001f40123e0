//! Several nodes that share their streams, and the engine between them.

use std::time::Duration;

use super::cluster_settings::ClusterSettings;
use super::defaults;
use super::error::ConfigError;
use super::nats::NatsConfig;
use super::redis::RedisConfig;
use super::secret::{self, Secret};
use super::settings::Settings;
use super::value::HumanDuration;

/// This node's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// What is between the nodes.
    pub engine: EngineConfig,
    /// Name of the cluster.
    pub name: String,
    /// The secret that its nodes share.
    pub secret: Option<Secret>,
    /// How long a silent node counts as there.
    pub lease: Duration,
    /// Maximum time that a request to the engine takes.
    pub timeout: Duration,
}

/// The engine, where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineConfig {
    /// Redis.
    Redis(RedisConfig),
    /// NATS.
    Nats(NatsConfig),
}

impl EngineConfig {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Nats(_) => "nats",
        }
    }
}

impl ClusterConfig {
    /// The cluster, if there is an engine.
    pub(super) fn from_settings(
        settings: &mut Settings,
        (lease, timeout): (Duration, Duration),
    ) -> Result<Option<Self>, ConfigError> {
        let keeps_state = settings.state_dir.is_some();
        let settings = &mut settings.cluster;
        let name = settings.cluster_name.take();
        let redis = RedisConfig::from_settings(settings)?;
        let nats = NatsConfig::from_settings(settings)?;
        let (given, file) = (settings.cluster_secret.take(), settings.cluster_secret_file.take());
        let secret = secret::read("cluster-secret", given, file)?;
        if secret.as_ref().is_some_and(|secret| secret.each().count() > 1) {
            return Err(ConfigError::SeveralClusterSecrets);
        }
        let engine = match (redis, nats) {
            (Some(_), Some(_)) => return Err(ConfigError::TwoEngines),
            (None, None) if secret.is_some() => return Err(ConfigError::ClusterSecretAlone),
            (None, None) => return Ok(None),
            (Some(redis), None) => EngineConfig::Redis(redis),
            (None, Some(nats)) => EngineConfig::Nats(nats),
        };
        if keeps_state {
            return Err(ConfigError::TwoKeepers);
        }
        let name = name.unwrap_or_else(|| defaults::CLUSTER_NAME.to_owned());
        Ok(Some(Self { engine, name, secret, lease, timeout }))
    }

    /// The settings that result in a cluster, or in none, all set.
    pub(super) fn to_settings(cluster: Option<&Self>, settings: &mut ClusterSettings) {
        RedisConfig::to_settings(cluster.and_then(Self::redis), settings);
        NatsConfig::to_settings(cluster.and_then(Self::nats), settings);
        let name = cluster.map_or(defaults::CLUSTER_NAME, |it| &it.name);
        settings.cluster_name = Some(name.to_owned());
        (settings.cluster_secret, settings.cluster_secret_file) =
            secret::split(cluster.and_then(|it| it.secret.as_ref()));
        let lease = cluster.map_or(defaults::NODE_LEASE, |it| it.lease);
        settings.node_lease = Some(HumanDuration(lease));
        let timeout = cluster.map_or(defaults::ENGINE_TIMEOUT, |it| it.timeout);
        settings.engine_timeout = Some(HumanDuration(timeout));
    }

    /// Redis, if that is the engine.
    pub fn redis(&self) -> Option<&RedisConfig> {
        match &self.engine {
            EngineConfig::Redis(redis) => Some(redis),
            EngineConfig::Nats(_) => None,
        }
    }

    /// NATS, if that is the engine.
    pub fn nats(&self) -> Option<&NatsConfig> {
        match &self.engine {
            EngineConfig::Nats(nats) => Some(nats),
            EngineConfig::Redis(_) => None,
        }
    }
}

/// A cluster of which all is said, with each engine.
#[cfg(test)]
pub(super) fn full() -> [ClusterConfig; 2] {
    let with = |engine| ClusterConfig {
        engine,
        name: "n".to_owned(),
        secret: Some(Secret::from("s")),
        lease: Duration::ZERO,
        timeout: Duration::ZERO,
    };
    [EngineConfig::Redis(super::redis::full()), EngineConfig::Nats(super::nats::full())].map(with)
}
