//! Streams of a cluster, and what they are created as.

use serde_json::{Value, json};

use super::api::{NAME_TAKEN, StreamInfo};
use super::fault::{Fault, Refusal};
use super::link::Link;
use super::names::{ClusterNames, PartitionNames, describe_cluster, describe_log};
use super::settings::NatsStorage;
use crate::engine::facts::Facts;
use crate::log::LogId;

/// Version of what is in the streams.
pub(super) const FORMAT: u16 = 2;

/// What the streams of a cluster are created as.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) names: ClusterNames,
    pub(super) partitions: u16,
    /// What tells the cluster's secret from others.
    pub(super) secret: Option<String>,
    pub(super) storage: NatsStorage,
    /// Servers that have each of them.
    pub(super) replicas: u8,
}

impl Streams {
    /// The stream with the snapshots; it is created unless it is there.
    pub(super) async fn open_store(&self, link: &Link) -> Result<StreamInfo, Fault> {
        let Self { partitions, secret, .. } = self;
        let (partitions, secret) = (*partitions, secret.clone());
        let facts = describe_cluster(&Facts { format: FORMAT, partitions, secret });
        let (name, subjects) = (self.names.store(), self.names.subjects_of_store());
        open(link, &name, &self.config(&name, &subjects, &facts)).await
    }

    /// The stream of a log, which is created as that of `log` unless it is there.
    pub(super) async fn open_log(
        &self,
        link: &Link,
        names: &PartitionNames,
        log: LogId,
    ) -> Result<StreamInfo, Fault> {
        let config = self.config(&names.log, &names.subjects_of_log(), &describe_log(log));
        open(link, &names.log, &config).await
    }

    /// Nothing is ever removed from a stream but by request.
    fn config(&self, name: &str, subjects: &[String], description: &str) -> Value {
        let storage = match self.storage {
            NatsStorage::Memory => "memory",
            NatsStorage::File => "file",
        };
        json!({
            "name": name,
            "description": description,
            "subjects": subjects,
            "retention": "limits",
            "discard": "new",
            "storage": storage,
            "num_replicas": self.replicas,
        })
    }
}

/// A stream, which is created unless there is one of this name.
async fn open(link: &Link, name: &str, config: &Value) -> Result<StreamInfo, Fault> {
    match link.info(name).await {
        Err(Fault::NoStream) => {}
        found => return found,
    }
    match link.create(name, config).await {
        Err(Fault::JetStream(Refusal { code: NAME_TAKEN, .. })) => link.info(name).await, // by another node
        created => created,
    }
}
