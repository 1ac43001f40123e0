//! Opening a cluster's logs.

use std::sync::Arc;

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{NAME_TAKEN, StreamInfo};
use super::connector::Connector;
use super::fault::{Fault, Refusal};
use super::follower::{Follower, Setup};
use super::link::Link;
use super::names::{
    ClusterNames, describe_cluster, describe_log, described_cluster, described_log,
};
use super::settings::{NatsSettings, NatsStorage};
use super::snapshots::NatsSnapshots;
use super::supervisor::Supervisor;
use crate::engine::backoff::Backoff;
use crate::engine::error::EngineError;
use crate::engine::facts::Facts;
use crate::engine::fault_log::FaultLog;
use crate::engine::feed::Progress;
use crate::engine::opened::Opened;
use crate::engine::partition_log::PartitionLog;
use crate::engine::random::random;
use crate::engine::requests::Requests;
use crate::engine::settings::EngineSettings;
use crate::engine::snapshots::Snapshots;
use crate::log::LogId;

/// Version of what is in the streams.
const FORMAT: u16 = 2;

/// Connects, and opens the cluster's logs.
pub(in crate::engine) async fn open(
    settings: &EngineSettings,
    nats: &NatsSettings,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Opened, EngineError> {
    let connector = Connector::new(settings, nats);
    let names = ClusterNames::new(&settings.cluster);
    let mut log = FaultLog::new();
    let mut backoff = Backoff::new(random()?);
    let opening = async {
        loop {
            match open_logs(&connector, &names, settings, nats.storage).await {
                Ok(opened) => return opened,
                Err(fault) => log.fault(fault.kind(), connector.speaker().sentence(&fault)),
            }
            backoff.wait().await;
        }
    };
    let opened = stop.run_until_cancelled(opening).await;
    let log_ids = opened.unwrap_or(Err(EngineError::Stopped))?;
    let (links, link) = watch::channel(None);
    let (mut logs, mut partitions) = (Vec::new(), Vec::new());
    for (partition, &log) in (0..settings.partitions).zip(&log_ids) {
        let names = names.partition(partition);
        let (requests, progress) = (Arc::<Requests>::default(), Arc::<Progress>::default());
        let snapshots = NatsSnapshots {
            names: names.clone(),
            log,
            links: link.clone(),
            speaker: connector.speaker().clone(),
            margin: nats.margin,
        };
        let (asked, told) = (Arc::clone(&requests), Arc::clone(&progress));
        logs.push(PartitionLog::new(asked, told, Snapshots::new(snapshots)));
        partitions.push((log, Arc::clone(&progress)));
        let (links, timeout, seed) = (link.clone(), settings.timeout, random()?);
        let setup = Setup { names, log, requests, progress, links, timeout, seed };
        tasks.spawn(Follower::new(setup).run(stop.clone()));
    }
    backoff.reset();
    let supervisor = Supervisor { connector, names, partitions, links, backoff, log };
    tasks.spawn(supervisor.run(stop.clone()));
    Ok(Opened { log_ids, logs })
}

/// The identities of all logs; those that don't exist are created.
async fn open_logs(
    connector: &Connector,
    names: &ClusterNames,
    settings: &EngineSettings,
    storage: NatsStorage,
) -> Result<Result<Vec<LogId>, EngineError>, Fault> {
    let link = connector.connect(0).await?;
    let facts = describe_cluster(&Facts {
        format: FORMAT,
        partitions: settings.partitions,
        secret: settings.secret.clone(),
    });
    let store = config(&names.store(), &names.subjects_of_store(), &facts, storage);
    let found = open_stream(&link, &names.store(), &store).await?;
    if let Err(refusal) = compare(&found, &names.store(), settings) {
        return Ok(Err(refusal));
    }
    let mut ids = Vec::new();
    for _ in 0..settings.partitions {
        match random() {
            Ok(id) => ids.push(LogId(id)),
            Err(error) => return Ok(Err(error)),
        }
    }
    let logs = (0..settings.partitions).zip(ids).map(|(partition, id)| {
        let (names, link) = (names.partition(partition), &link);
        async move {
            let log = config(&names.log, &[names.subject], &describe_log(id), storage);
            let found = open_stream(link, &names.log, &log).await?;
            Ok::<_, Fault>(
                described_log(&found.config.description).ok_or_else(|| foreign(&names.log)),
            )
        }
    });
    Ok(try_join_all(logs).await?.into_iter().collect())
}

/// A stream, which is created unless there is one of this name.
async fn open_stream(link: &Link, name: &str, config: &Value) -> Result<StreamInfo, Fault> {
    match link.info(name).await {
        Err(Fault::NoStream) => {}
        found => return found,
    }
    match link.create(name, config).await {
        Err(Fault::JetStream(Refusal { code: NAME_TAKEN, .. })) => link.info(name).await, // by another node
        created => created,
    }
}

/// What a stream is created as. Nothing is ever removed from it but by request.
fn config(name: &str, subjects: &[String], description: &str, storage: NatsStorage) -> Value {
    let storage = match storage {
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
        "num_replicas": 1,
    })
}

/// Compares the cluster's facts with the settings.
fn compare(found: &StreamInfo, name: &str, settings: &EngineSettings) -> Result<(), EngineError> {
    let facts = described_cluster(&found.config.description);
    facts.ok_or_else(|| foreign(name))?.check(settings, FORMAT)
}

fn foreign(stream: &str) -> EngineError {
    EngineError::Failed(format!(
        "NATS has a stream {stream} that isn't this cluster's: choose another cluster's name"
    ))
}
