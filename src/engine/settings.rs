//! Settings of engines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::EngineError;
use super::nats::NatsSettings;
use super::nodes::Nodes;
use super::redis::RedisSettings;
use crate::log::LogId;

/// Maximum length of a cluster's name, in bytes.
const MAX_NAME: usize = 64;

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Name of the cluster: nodes with the same name and engine belong together.
    pub cluster: ClusterName,
    /// Number of partitions, decided when the cluster's first node starts.
    pub partitions: u16,
    /// Maximum time for a connection to be made, and for an answer.
    pub timeout: Duration,
    /// The nodes there are, as far as this one knows.
    pub nodes: Arc<Nodes>,
    /// What tells the cluster's secret from others, if it has one. All its nodes have the same, or none.
    pub secret: Option<String>,
    /// What is appended to a log that goes on though nodes may have had something of it that is lost.
    pub forks: Forks,
    /// The engine.
    pub engine: Engine,
}

/// Makes what is appended to a log that goes on though nodes may have had something of it that is lost.
#[derive(Clone)]
pub struct Forks(Arc<MakeFork>);

type MakeFork = dyn Fn(u16, LogId, u64) -> Bytes + Send + Sync;

/// The engine.
#[derive(Clone, Debug)]
pub enum Engine {
    /// A Redis server, 6.2 or newer.
    Redis(RedisSettings),
    /// NATS with JetStream, 2.9 or newer.
    Nats(NatsSettings),
}

/// Name of a cluster. All its keys, channels, streams and subjects begin with it.
///
/// ```
/// use broker::engine::ClusterName;
/// assert!(ClusterName::new("broker").is_ok());
/// assert!(ClusterName::new("a{b}").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(Box<str>);

impl Forks {
    /// From what makes one for a partition, its log, and a number that no other fork has.
    pub fn new(make: impl Fn(u16, LogId, u64) -> Bytes + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(in crate::engine) fn make(&self, partition: u16, log: LogId, number: u64) -> Bytes {
        (self.0)(partition, log, number)
    }
}

impl fmt::Debug for Forks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forks(…)")
    }
}

impl ClusterName {
    /// Refuses names that keys can't begin with: braces, which decide where Redis Cluster has a key, and spaces.
    pub fn new(name: &str) -> Result<Self, EngineError> {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_valid) {
            return Err(EngineError::ClusterName);
        }
        Ok(Self(name.into()))
    }
}

impl ClusterName {
    pub(in crate::engine) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
