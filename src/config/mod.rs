//! Configuration in two steps: [`Settings`] as people write them, then one validated [`Config`]
//! that the rest of the program reads.
//!
//! ```text
//! flags ─┐
//! env   ─┼─ cli ─→ Settings ── Config::from_settings ─→ Config ── to_settings ─→ --print-config
//! file  ─┘ read_file
//! ```
//!
//! Flags win over environment over file over [`defaults`]. Only this module parses durations, reads
//! keys and checks bounds.

mod access;
mod app_url;
mod application;
mod application_error;
mod application_settings;
mod bounds;
mod cluster;
mod cluster_settings;
#[expect(clippy::module_inception, reason = "the type has the name of the module")]
mod config;
pub mod defaults;
mod error;
mod file;
mod nats;
mod nearest;
mod pem;
mod print;
mod protocols;
mod proxies;
mod redis;
mod rpc_host;
mod secret;
mod secret_settings;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod validate;
mod value;

pub use access::Access;
pub use app_url::{AppUrl, BadAppUrl};
pub use application::{ApplicationConfig, DisconnectConfig, RpcTls};
pub use application_error::ApplicationError;
pub use application_settings::ApplicationSettings;
pub use cluster::{ClusterConfig, EngineConfig};
pub use cluster_settings::ClusterSettings;
pub use config::Config;
pub use error::{ConfigError, Plain};
pub use nats::NatsConfig;
pub use nearest::nearest;
pub use pem::Pem;
pub use protocols::{BadProtocol, Protocols};
pub use proxies::{BadProxy, Proxies};
pub use redis::{RedisConfig, RedisTls};
pub use rpc_host::{BadRpcHost, RpcHost, RpcServer};
pub use secret::Secret;
pub use settings::Settings;
pub use tls::{TlsFiles, TlsPair};
pub use value::{
    ByteSize, DisconnectMode, Host, HumanDuration, LogFormat, NatsStorage, RpcProtocol,
    TimestampPrecision, ValueError,
};
