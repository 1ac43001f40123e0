//! Several nodes that share their streams, and the engine between them.

use std::time::Duration;

use super::defaults;
use super::error::ConfigError;
use super::secret::{self, Secret};
use super::settings::Settings;

/// This node's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// URL of Redis; it may have a password.
    pub redis_url: Secret,
    /// Sentinels that say where it is; they may have passwords.
    pub redis_sentinels: Option<Secret>,
    /// Name of the cluster.
    pub name: String,
    /// How long a silent node counts as there.
    pub lease: Duration,
    /// Maximum time that a request to the engine takes.
    pub timeout: Duration,
}

impl ClusterConfig {
    /// The cluster, if there is an engine.
    pub(super) fn from_settings(
        settings: &mut Settings,
        (lease, timeout): (Duration, Duration),
    ) -> Result<Option<Self>, ConfigError> {
        let name = settings.cluster_name.take();
        let given = settings.redis_url.take().filter(|url| url.each().any(|url| !url.is_empty()));
        let url = secret::read("redis-url", given, settings.redis_url_file.take())?;
        let given = settings.redis_sentinels.take();
        let file = settings.redis_sentinels_file.take();
        let redis_sentinels = secret::read("redis-sentinels", given, file)?;
        let Some(redis_url) = url else {
            return match redis_sentinels {
                None => Ok(None),
                Some(_) => Err(ConfigError::SentinelsAlone),
            };
        };
        if settings.state_dir.is_some() {
            return Err(ConfigError::TwoKeepers);
        }
        let name = name.unwrap_or_else(|| defaults::CLUSTER_NAME.to_owned());
        Ok(Some(Self { redis_url, redis_sentinels, name, lease, timeout }))
    }
}
