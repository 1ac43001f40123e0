//! Opening a cluster's logs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

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
use super::scripts::{self, NONE, Settled};
use super::settings::RedisSettings;
use super::snapshots::RedisSnapshots;
use super::supervisor::{Followed, Supervisor};
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

/// Version of what is in the keys.
const FORMAT: u16 = 2;

/// The cluster's facts, as fields of a hash.
const FACTS: [&str; 3] = ["format", "partitions", "secret"];

/// Time within which nodes come back to a server that has restarted: if it has lost their logs, they put them back.
const RETURN: Duration = Duration::from_secs(1);

/// How often a node looks whether missing logs are put back.
const ASK_AGAIN: Duration = Duration::from_millis(100);

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
    let mut opening =
        Opening { settings, keys: &keys, is_first: false, missing: Default::default() };
    let opening = async {
        loop {
            match opening.attempt(&connector).await {
                Ok(Some(opened)) => return opened,
                Ok(None) => {
                    tokio::time::sleep(ASK_AGAIN).await;
                    continue;
                }
                Err(fault) => log.fault(fault.kind(), connector.speaker().sentence(&fault)),
            }
            backoff.wait().await;
        }
    };
    let opened = stop.run_until_cancelled(opening).await;
    let log_ids = opened.unwrap_or(Err(EngineError::Stopped))?;
    let (links, link) = watch::channel(None);
    let (mut logs, mut followed) = (Vec::new(), Vec::new());
    let put_back = Arc::<AtomicU64>::default();
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
        let (nodes, put_back) = (Arc::clone(&settings.nodes), Arc::clone(&put_back));
        let forks = settings.forks.clone();
        let parts = Parts {
            keys,
            log,
            requests,
            progress,
            inbox,
            links,
            nodes,
            partition,
            forks,
            put_back,
            seed,
        };
        tasks.spawn(Follower::new(parts).run(stop.clone()));
    }
    backoff.reset();
    let supervisor =
        Supervisor { connector, keys, partitions: followed.into(), put_back, links, backoff, log };
    tasks.spawn(supervisor.run(stop.clone()));
    Ok(Opened { log_ids, logs })
}

/// Attempts to open the logs.
struct Opening<'a> {
    settings: &'a EngineSettings,
    keys: &'a ClusterKeys,
    /// Whether nothing was known of the cluster when this node came.
    is_first: bool,
    /// The run of the server, and how long logs have been missing in it.
    missing: (Arc<str>, Duration),
}

impl Opening<'_> {
    /// The identities of all logs, or why this node can't have them. `None`: some aren't there, and may be put back.
    async fn attempt(
        &mut self,
        connector: &Connector,
    ) -> Result<Option<Result<Vec<LogId>, EngineError>>, Fault> {
        let (connection, run) = connector.connect(|_| ()).await?;
        match check_cluster(&connection, self.keys, self.settings).await? {
            Ok(is_first) => self.is_first |= is_first,
            Err(refusal) => return Ok(Some(Err(refusal))),
        }
        let (id, missing) = &mut self.missing;
        if *id != run.id {
            (*id, *missing) = (Arc::clone(&run.id), Duration::ZERO);
        }
        let may_create = self.is_first && run.age > 2 * RETURN || *missing >= RETURN;
        *missing += ASK_AGAIN;
        let mut open = pipe();
        for partition in 0..self.settings.partitions {
            let log = match random() {
                Ok(id) => Settled { log: LogId(id), run: &run.id },
                Err(error) => return Ok(Some(Err(error))),
            };
            open.add_command(scripts::open(&self.keys.partition(partition), log, may_create));
        }
        let answers = link::ask_all(&connection, &open).await?;
        if answers.contains(&Value::BulkString(NONE.into())) {
            return Ok(None);
        }
        let ids = answers.into_iter().map(|id| log_id(&bytes(id)?));
        Ok(Some(Ok(ids.collect::<Option<_>>().ok_or(Fault::Unexpected)?)))
    }
}

/// Compares the cluster's facts with the settings; the first node writes them. Returns whether it is the first.
async fn check_cluster(
    connection: &MultiplexedConnection,
    keys: &ClusterKeys,
    settings: &EngineSettings,
) -> Result<Result<bool, EngineError>, Fault> {
    let mut ask = pipe();
    let secret = settings.secret.clone().unwrap_or_default();
    let ours = [FORMAT.to_string(), settings.partitions.to_string(), secret].into_iter().zip(FACTS);
    for (ours, fact) in ours {
        let mut set = cmd("HSETNX");
        set.arg(keys.cluster()).arg(fact).arg(ours);
        ask.add_command(set);
    }
    ask.cmd("HMGET").arg(keys.cluster()).arg(&FACTS);
    let answers = link::ask_all(connection, &ask).await?;
    let is_first = answers.first() == Some(&Value::Int(1));
    let Some(Value::Array(facts)) = answers.into_iter().next_back() else {
        return Err(Fault::Unexpected);
    };
    let facts = read_facts(facts).ok_or(Fault::Unexpected)?;
    Ok(facts.check(settings, FORMAT).map(|()| is_first))
}

fn read_facts(facts: Vec<Value>) -> Option<Facts> {
    let [format, partitions, secret] = <[Value; 3]>::try_from(facts).ok()?;
    let read = |fact| number(&bytes(fact)?)?.try_into().ok();
    let secret = Some(String::from_utf8(bytes(secret)?).ok()?).filter(|secret| !secret.is_empty());
    Some(Facts { format: read(format)?, partitions: read(partitions)?, secret })
}
