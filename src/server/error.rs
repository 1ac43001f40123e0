//! Why the broker can't serve.

use std::io;

use super::listener::BindError;
use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::state::OpenError;

/// Why the broker can't serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address can't be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The TLS certificate can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory can't be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// Presence lookups need TLS, and the system has no certificate authorities.
    #[error(
        "--presence-fetch-url: TLS needs the system's certificate authorities: {0}; install \
         ca-certificates, or name a file in SSL_CERT_FILE"
    )]
    Authorities(io::Error),
    /// The same, for calls to the application.
    #[error(
        "--rpc-host: TLS needs the system's certificate authorities: {0}; install ca-certificates, or name the \
         application's in --rpc-tls-root-ca"
    )]
    ApplicationAuthorities(io::Error),
    /// The metrics recorder can't be set up.
    #[error("metrics can't be set up: {0}")]
    Metrics(String),
    /// The system refuses a resource that the broker needs.
    #[error("the system refuses what the broker needs: {0}")]
    System(#[from] io::Error),
    /// The engine's settings can't be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A shard's task panicked.
    #[error("a shard failed and its streams are lost; the log says where")]
    Shard,
}
