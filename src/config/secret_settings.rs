//! The settings that are secrets, each with the file that can hold it.

use std::path::PathBuf;

use super::secret::Secret;
use super::settings::Settings;

/// A secret: its flag's name, its value, and the file given instead.
pub(super) type SecretSetting<'a> = (&'static str, &'a mut Option<Secret>, &'a mut Option<PathBuf>);

impl Settings {
    /// All secrets: those of [`Access`](super::Access) in its order, then others.
    pub fn secrets(&mut self) -> [SecretSetting<'_>; 13] {
        let (cluster, application) = (&mut self.cluster, &mut self.application);
        [
            ("secret", &mut self.secret, &mut self.secret_file),
            ("jwt-secret", &mut self.jwt_secret, &mut self.jwt_secret_file),
            ("streams-secret", &mut self.streams_secret, &mut self.streams_secret_file),
            (
                "turbo-streams-secret",
                &mut self.turbo_streams_secret,
                &mut self.turbo_streams_secret_file,
            ),
            ("cable-ready-secret", &mut self.cable_ready_secret, &mut self.cable_ready_secret_file),
            ("broadcast-key", &mut self.broadcast_key, &mut self.broadcast_key_file),
            ("api-key", &mut self.api_key, &mut self.api_key_file),
            ("metrics-key", &mut self.metrics_key, &mut self.metrics_key_file),
            (
                "http-rpc-secret",
                &mut application.http_rpc_secret,
                &mut application.http_rpc_secret_file,
            ),
            // they may have a password
            ("redis-url", &mut cluster.redis_url, &mut cluster.redis_url_file),
            ("redis-sentinels", &mut cluster.redis_sentinels, &mut cluster.redis_sentinels_file),
            ("cluster-secret", &mut cluster.cluster_secret, &mut cluster.cluster_secret_file),
            ("nats-servers", &mut cluster.nats_servers, &mut cluster.nats_servers_file),
        ]
    }
}
