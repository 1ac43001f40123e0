//! Opening a cluster's logs.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd, pipe};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connector::Connector;
use super::entry::{bytes, log_id, number};
use super::fault::Fault;
use super::follower::{Follower, Parts};
use super::inbox::inbox;
use super::keys::{ClusterKeys, partitions_of_server};
use super::link;
use super::scripts;
use super::settings::RedisSettings;
use super::snapshots::RedisSnapshots;
use super::supervisor::{Followed, Supervisor};
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

/// Version of what is in the keys.
const FORMAT: u16 = 1;

/// Connects, and opens the cluster's logs.
pub(in crate::engine) async fn open(
    settings: &EngineSettings,
    redis: &RedisSettings,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Opened, EngineError> {
    let connector = Connector::new(settings, redis);
    let keys = ClusterKeys::new(&settings.cluster);
    let mut log = FaultLog::new();
    let mut backoff = Backoff::new(random()?);
    let opening = async {
        loop {
            match open_logs(&connector, &keys, settings).await {
                Ok(opened) => return opened,
                Err(fault) => log.fault(fault.kind(), connector.speaker().sentence(&fault)),
            }
            backoff.wait().await;
        }
    };
    let opened = stop.run_until_cancelled(opening).await;
    let log_ids = opened.unwrap_or(Err(EngineError::Stopped))?;
    let (links, link) = watch::channel(None);
    let (mut logs, mut followed) = (Vec::new(), Vec::new());
    for (partition, &log) in partitions_of_server(settings.partitions).zip(&log_ids) {
        let keys = keys.partition(partition);
        let (requests, progress) = (Arc::<Requests>::default(), Arc::<Progress>::default());
        let (outlet, inbox) = inbox();
        let snapshots = RedisSnapshots {
            keys: keys.clone(),
            log,
            links: link.clone(),
            speaker: connector.speaker().clone(),
        };
        let (asked, told) = (Arc::clone(&requests), Arc::clone(&progress));
        logs.push(PartitionLog::new(asked, told, Snapshots::new(snapshots)));
        followed.push(Followed { keys: keys.clone(), progress: Arc::clone(&progress), outlet });
        let (links, seed) = (link.clone(), random()?);
        let parts = Parts { keys, log, requests, progress, inbox, links, seed };
        tasks.spawn(Follower::new(parts).run(stop.clone()));
    }
    backoff.reset();
    let supervisor =
        Supervisor { connector, keys, partitions: followed.into(), links, backoff, log };
    tasks.spawn(supervisor.run(stop.clone()));
    Ok(Opened { log_ids, logs })
}

/// The identities of all logs; those that don't exist are created.
async fn open_logs(
    connector: &Connector,
    keys: &ClusterKeys,
    settings: &EngineSettings,
) -> Result<Result<Vec<LogId>, EngineError>, Fault> {
    let connection = connector.connect(|_| ()).await?;
    if let Err(refusal) = check_cluster(&connection, keys, settings).await? {
        return Ok(Err(refusal));
    }
    let mut open = pipe();
    for partition in 0..settings.partitions {
        match random() {
            Ok(id) => open.add_command(scripts::open(&keys.partition(partition), LogId(id))),
            Err(error) => return Ok(Err(error)),
        };
    }
    let answers = link::ask_all(&connection, &open).await?;
    let ids = answers.into_iter().map(|id| log_id(&bytes(id)?));
    Ok(Ok(ids.collect::<Option<_>>().ok_or(Fault::Unexpected)?))
}

/// Compares the cluster's facts with the settings; the first node writes them.
async fn check_cluster(
    connection: &MultiplexedConnection,
    keys: &ClusterKeys,
    settings: &EngineSettings,
) -> Result<Result<(), EngineError>, Fault> {
    let mut ask = pipe();
    for (fact, ours) in [("format", FORMAT), ("partitions", settings.partitions)] {
        let mut set = cmd("HSETNX");
        set.arg(keys.cluster()).arg(fact).arg(ours);
        ask.add_command(set);
    }
    ask.cmd("HMGET").arg(keys.cluster()).arg(&["format", "partitions"]);
    let answers = link::ask_all(connection, &ask).await?;
    let Some(Value::Array(facts)) = answers.into_iter().next_back() else {
        return Err(Fault::Unexpected);
    };
    let read = |fact| number(&bytes(fact)?)?.try_into().ok();
    let facts: Option<Vec<u16>> = facts.into_iter().map(read).collect();
    let Some(&[format, partitions]) = facts.as_deref() else { return Err(Fault::Unexpected) };
    let cluster = settings.cluster.to_string();
    Ok(if format != FORMAT {
        Err(EngineError::Format { cluster, theirs: format, ours: FORMAT })
    } else if partitions != settings.partitions {
        Err(EngineError::Partitions { cluster, theirs: partitions, ours: settings.partitions })
    } else {
        Ok(())
    })
}
