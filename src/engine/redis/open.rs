//! Opening a cluster's logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, Value, cmd, pipe};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connector::Connector;
use super::entry::{bytes, log_id, number};
use super::fault::Fault;
use super::fleet::Fleet;
use super::follower::{Follower, Parts};
use super::inbox::inbox;
use super::keys::ClusterKeys;
use super::link;
use super::locator::Locator;
use super::run::Run;
use super::scripts::{self, NONE, Settled};
use super::settings::RedisSettings;
use super::shared::{Followed, Shared};
use super::snapshots::RedisSnapshots;
use super::topology::Topology;
use crate::engine::backoff::Backoff;
use crate::engine::error::EngineError;
use crate::engine::facts::Facts;
use crate::engine::fault_log::EngineFaults;
use crate::engine::feed::Progress;
use crate::engine::opened::Opened;
use crate::engine::partition_log::PartitionLog;
use crate::engine::random::random;
use crate::engine::requests::Requests;
use crate::engine::settings::EngineSettings;
use crate::engine::snapshots::Snapshots;
use crate::log::LogId;

/// Version of what is in the keys.
const FORMAT: u16 = 4;

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
    let faults = EngineFaults::default();
    let mut log = faults.log();
    let mut backoff = Backoff::new(random()?);
    let locator = Locator::new(connector.clone(), keys.clone(), settings.partitions);
    let mut opening =
        Opening { settings, keys: &keys, locator, is_first: false, missing: BTreeMap::new() };
    let attempts = async {
        loop {
            match opening.attempt().await {
                Ok(Some(opened)) => return opened,
                Ok(None) => {
                    tokio::time::sleep(ASK_AGAIN).await;
                    continue;
                }
                Err((place, fault)) => {
                    let connector = opening.locator.connector(&place);
                    log.fault(fault.kind(), connector.speaker().sentence(&fault));
                }
            }
            backoff.wait().await;
        }
    };
    let opened = stop.run_until_cancelled(attempts).await;
    let (topology, log_ids) = opened.unwrap_or(Err(EngineError::Stopped))?;
    let (mut logs, mut followed) = (Vec::new(), Vec::new());
    let put_back = Arc::<AtomicU64>::default();
    for (partition, &log) in (0..settings.partitions).zip(&log_ids) {
        let keys = keys.partition(partition);
        let (requests, progress) = (Arc::<Requests>::default(), Arc::<Progress>::default());
        let (outlet, inbox) = inbox();
        let proved = Arc::default();
        let (link, links) = watch::channel(None);
        let snapshots = RedisSnapshots {
            keys: keys.clone(),
            log,
            links: links.clone(),
            proved: Arc::clone(&proved),
            speaker: connector.speaker().clone(),
        };
        let (asked, told) = (Arc::clone(&requests), Arc::clone(&progress));
        logs.push(PartitionLog::new(asked, told, Snapshots::new(snapshots)));
        let progress_of_it = Arc::clone(&progress);
        followed.push(Followed { keys: keys.clone(), progress: progress_of_it, outlet, link });
        let (nodes, put_back) = (Arc::clone(&settings.nodes), Arc::clone(&put_back));
        let (forks, seed) = (settings.forks.clone(), random()?);
        let parts = Parts {
            keys,
            log,
            requests,
            progress,
            inbox,
            links,
            proved,
            nodes,
            partition,
            forks,
            put_back,
            seed,
        };
        tasks.spawn(Follower::new(parts).run(stop.clone()));
    }
    let shared = Shared {
        keys: keys.clone(),
        partitions: followed.into(),
        put_back,
        links: Arc::default(),
        look: Arc::default(),
    };
    let fleet = Fleet {
        locator: opening.locator,
        shared,
        tasks: tasks.clone(),
        stop: stop.clone(),
        faults,
        log: Some(log),
        seed: random()?,
        running: BTreeMap::new(),
    };
    tasks.spawn(fleet.run(topology));
    Ok(Opened { log_ids, logs })
}

/// Attempts to open the logs.
struct Opening<'a> {
    settings: &'a EngineSettings,
    keys: &'a ClusterKeys,
    locator: Locator,
    /// Whether nothing was known of the cluster when this node came.
    is_first: bool,
    /// How long logs have been missing in a run of each server.
    missing: BTreeMap<Arc<str>, Duration>,
}

/// Where the logs are, and their identities; or why this node can't have them.
type Found = Result<(Topology, Vec<LogId>), EngineError>;

impl Opening<'_> {
    /// Finds the logs. `None`: some aren't there, and may be put back. A fault is that of a server at a place.
    async fn attempt(&mut self) -> Result<Option<Found>, (String, Fault)> {
        let all = self.locator.address().to_owned();
        let topology = self.locator.locate().await.map_err(|fault| (all.clone(), fault))?;
        let Some((home, info)) = topology.home.clone().filter(|_| topology.missing == 0) else {
            return Err((all, Fault::Uncovered));
        };
        let visits = topology.servers.iter().map(|(place, server)| {
            let connector = self.locator.connector(place);
            async move {
                let connected = connector.connect(&server.info, |_| ()).await;
                connected.map_err(|fault| (place.clone(), fault))
            }
        });
        let visited = try_join_all(visits).await?;
        let servers = topology.servers.iter().zip(&visited);
        // a server without partitions may have the cluster's facts
        let at_home = servers.clone().find(|((place, _), _)| **place == home);
        let checked = match at_home {
            Some((_, (connection, _))) => check_cluster(connection, self.keys, self.settings).await,
            None => self.check_at(&home, &info).await,
        };
        match checked.map_err(|fault| (home, fault))? {
            Ok(is_first) => self.is_first |= is_first,
            Err(refusal) => return Ok(Some(Err(refusal))),
        }
        let mut ids = BTreeMap::new();
        for ((place, server), (connection, run)) in servers {
            let opened = self.open_logs(&server.partitions, connection, run).await;
            match opened.map_err(|fault| (place.clone(), fault))? {
                None => return Ok(None),
                Some(Err(error)) => return Ok(Some(Err(error))),
                Some(Ok(opened)) => ids.extend(server.partitions.iter().copied().zip(opened)),
            }
        }
        Ok(Some(Ok((topology, ids.into_values().collect()))))
    }

    async fn check_at(
        &self,
        home: &str,
        info: &ConnectionInfo,
    ) -> Result<Result<bool, EngineError>, Fault> {
        let (connection, _) = self.locator.connector(home).connect(info, |_| ()).await?;
        check_cluster(&connection, self.keys, self.settings).await
    }

    /// The identities of a server's logs.
    async fn open_logs(
        &mut self,
        partitions: &[u16],
        connection: &MultiplexedConnection,
        run: &Run,
    ) -> Result<Option<Result<Vec<LogId>, EngineError>>, Fault> {
        let missing = self.missing.entry(Arc::clone(&run.id)).or_default();
        let may_create = self.is_first && run.age > 2 * RETURN || *missing >= RETURN;
        let mut open = pipe();
        for partition in partitions {
            let log = match random() {
                Ok(id) => Settled { log: LogId(id), run: &run.id },
                Err(error) => return Ok(Some(Err(error))),
            };
            open.add_command(scripts::open(&self.keys.partition(*partition), log, may_create));
        }
        let answers = link::ask_all(connection, &open).await?;
        if answers.contains(&Value::BulkString(NONE.into())) {
            *missing += ASK_AGAIN;
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
