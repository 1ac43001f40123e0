//! Opening a cluster's logs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{OTHER_LAST, StreamInfo};
use super::connector::Connector;
use super::fault::{Fault, Refusal};
use super::follower::{Follower, Setup};
use super::link::Link;
use super::names::{ClusterNames, PartitionNames, described_cluster, described_log};
use super::notices::Notices;
use super::places::Places;
use super::run;
use super::settings::NatsSettings;
use super::settlement::Settlement;
use super::snapshots::NatsSnapshots;
use super::streams::{FORMAT, Streams};
use super::supervisor::Supervisor;
use crate::engine::backoff::Backoff;
use crate::engine::error::EngineError;
use crate::engine::fault_log::FaultLog;
use crate::engine::feed::Progress;
use crate::engine::opened::Opened;
use crate::engine::partition_log::PartitionLog;
use crate::engine::random::random;
use crate::engine::requests::Requests;
use crate::engine::settings::EngineSettings;
use crate::engine::snapshots::Snapshots;
use crate::log::LogId;

/// How often a node looks whether missing logs are put back.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Connects, and opens the cluster's logs.
pub(in crate::engine) async fn open(
    settings: &EngineSettings,
    nats: &NatsSettings,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Opened, EngineError> {
    let connector = Connector::new(settings, nats);
    let streams = Arc::new(Streams {
        names: ClusterNames::new(&settings.cluster),
        partitions: settings.partitions,
        secret: settings.secret.clone(),
        storage: nats.storage,
        replicas: nats.replicas,
    });
    let mut log = FaultLog::new();
    let mut backoff = Backoff::new(random()?);
    let opening = async {
        let mut missing = Duration::ZERO;
        loop {
            let may_create = missing >= nats.patience;
            match open_logs(&connector, &streams, settings, may_create).await {
                Ok(Some(opened)) => return opened,
                Ok(None) => {
                    tokio::time::sleep(ASK_AGAIN).await;
                    missing += ASK_AGAIN;
                    continue;
                }
                Err(fault) => log.fault(fault.kind(), connector.speaker().sentence(&fault)),
            }
            missing = Duration::ZERO; // another server may be there next
            backoff.wait().await;
        }
    };
    let opened = stop.run_until_cancelled(opening).await;
    let log_ids = opened.unwrap_or(Err(EngineError::Stopped))?;
    let (links, link) = watch::channel(None);
    let (mut logs, mut partitions) = (Vec::new(), Vec::new());
    let notices = Arc::<Notices>::default();
    for (partition, &log) in (0..settings.partitions).zip(&log_ids) {
        let names = streams.names.partition(partition);
        let (requests, progress) = (Arc::<Requests>::default(), Arc::<Progress>::default());
        let places = Arc::<Places>::default();
        let snapshots = NatsSnapshots {
            names: names.clone(),
            log,
            places: Arc::clone(&places),
            links: link.clone(),
            speaker: connector.speaker().clone(),
            lease: settings.nodes.lease,
            margin: nats.margin,
        };
        let (asked, told) = (Arc::clone(&requests), Arc::clone(&progress));
        logs.push(PartitionLog::new(asked, told, Snapshots::new(snapshots)));
        partitions.push((log, Arc::clone(&progress)));
        let setup = Setup {
            names,
            log,
            requests,
            progress,
            links: link.clone(),
            streams: Arc::clone(&streams),
            places,
            notices: Arc::clone(&notices),
            nodes: Arc::clone(&settings.nodes),
            partition,
            forks: settings.forks.clone(),
            timeout: settings.timeout,
            seed: random()?,
        };
        tasks.spawn(Follower::new(setup).run(stop.clone()));
    }
    backoff.reset();
    let supervisor = Supervisor { connector, streams, notices, partitions, links, backoff, log };
    tasks.spawn(supervisor.run(stop.clone()));
    Ok(Opened { log_ids, logs })
}

/// The identities of all logs, or why this node can't have them. `None`: some aren't there, and may be put back.
async fn open_logs(
    connector: &Connector,
    streams: &Streams,
    settings: &EngineSettings,
    may_create: bool,
) -> Result<Option<Result<Vec<LogId>, EngineError>>, Fault> {
    let link = connector.connect(0).await?;
    // should this not be permitted, it is known before it is needed
    let _bids = link.client().subscribe(streams.names.bids()).await.map_err(|_| Fault::Closed)?;
    let found = streams.open_store(&link).await?;
    if let Err(refusal) = compare(&found, &streams.names.store(), settings) {
        return Ok(Some(Err(refusal)));
    }
    let logs = (0..settings.partitions).map(|partition| {
        let (names, link) = (streams.names.partition(partition), &link);
        async move {
            let found = match link.info(&names.log).await {
                Err(Fault::NoStream) if may_create => {
                    create(link, streams, &names, settings.timeout).await?
                }
                Err(Fault::NoStream) => return Ok(None),
                found => Ok(found?),
            };
            Ok::<_, Fault>(Some(found.and_then(|found| {
                described_log(&found.config.description).ok_or_else(|| foreign(&names.log))
            })))
        }
    });
    Ok(try_join_all(logs).await?.into_iter().collect())
}

/// Creates a log.
async fn create(
    link: &Link,
    streams: &Streams,
    names: &PartitionNames,
    timeout: Duration,
) -> Result<Result<StreamInfo, EngineError>, Fault> {
    let (id, run) = match (random(), random()) {
        (Ok(id), Ok(run)) => (LogId(id), run),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
    };
    let created = streams.open_log(link, names, id).await?;
    if described_log(&created.config.description) == Some(id) {
        let settlement = Settlement::beginning(id, (1, run), None, Vec::new()).write();
        match link.store(&names.settlements, settlement, Some(0)).await {
            Ok(sequence) => {
                run::begin(link, &names.log, (run, sequence), timeout).await?;
            }
            Err(Fault::JetStream(Refusal { code: OTHER_LAST, .. })) => {} // by another node
            Err(fault) => return Err(fault),
        }
    }
    Ok(Ok(created))
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
