//! Starts a node of a cluster.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::again::Before;
use super::error::Error;
use crate::auth::ClusterSecret;
use crate::clock::Clock;
use crate::cluster::ForkId;
use crate::config::{ClusterConfig, EngineConfig, NatsConfig, NatsStorage, RedisConfig};
use crate::engine::{
    self, ClusterName, Engine, EngineError, EngineSettings, Forks, NatsSettings, RedisSettings,
};
use crate::log::NodeId;
use crate::node::{Cluster, ClusterNames, Ends, LogEncoding, OwnNode, Partitions};
use crate::shard::Settings;

/// Number of partitions: enough for all cores of twenty nodes, and few enough to be followed by each.
const PARTITIONS: u16 = 64;

/// The engine's tasks. They outlive the partitions'.
#[derive(Debug, Default)]
pub(super) struct EngineTasks {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Why this node can't be one of the cluster, if it can't.
    pub(super) refusal: Arc<OnceLock<EngineError>>,
}

/// Connects to the engine in the background. The partitions wait for their logs.
pub(super) fn begin(
    config: &ClusterConfig,
    settings: Settings,
    clock: &Clock,
    engine: &EngineTasks,
    (ends, before): (&Ends, Before),
) -> Result<(Partitions, Arc<Cluster>), Error> {
    let mut node = [0; 8];
    getrandom::fill(&mut node).map_err(io::Error::other)?;
    let node = NodeId(u64::from_ne_bytes(node));
    let names = ClusterNames { engine: config.engine.name(), cluster: config.name.clone() };
    let times = (config.lease, config.timeout);
    let secret = config.secret.as_ref().and_then(|secret| secret.each().next());
    let secret = secret.map(|secret| ClusterSecret::new(secret, &config.name));
    let names = (names, secret.clone());
    let nodes = OwnNode { now: node, before: before.node };
    let cluster = Cluster::new(names, nodes, times, usize::from(PARTITIONS), clock, ends.clone());
    cluster.note_losses(before.times);
    let settings_of_engine = EngineSettings {
        cluster: ClusterName::new(&config.name)?,
        partitions: PARTITIONS,
        timeout: config.timeout,
        nodes: Arc::clone(&cluster.nodes),
        secret: secret.as_ref().map(ClusterSecret::fingerprint),
        forks: Forks::new(move |partition, log, number| {
            LogEncoding::of(secret.as_ref(), partition, log).encode_fork(ForkId(number))
        }),
        engine: engine_of(&config.engine)?,
    };
    let (partitions, logs) = Partitions::new(settings, &cluster);
    let refusal = Arc::clone(&engine.refusal);
    let (tasks, stop, failed) = (engine.tasks.clone(), engine.stop.clone(), ends.failed.clone());
    engine.tasks.spawn(async move {
        match engine::connect(&settings_of_engine, &tasks, &stop).await {
            Ok(opened) => {
                for (sender, log) in
                    logs.into_iter().zip(opened.log_ids.into_iter().zip(opened.logs))
                {
                    sender.send(log).ok(); // else the broker stops
                }
            }
            Err(EngineError::Stopped) => {}
            Err(error) => {
                refusal.set(error).ok(); // once
                failed.cancel();
            }
        }
    });
    Ok((partitions, cluster))
}

fn redis_of(config: &RedisConfig) -> Result<RedisSettings, EngineError> {
    let RedisConfig { url, sentinels, tls } = config;
    let authorities = tls.authorities.as_ref().map(|pem| pem.bytes.clone());
    let mut urls = url.each().map(str::trim);
    let mut redis = RedisSettings::new(urls.next().unwrap_or_default(), authorities)?;
    redis = redis.with_seeds(urls)?;
    if let Some((certificate, key)) = &tls.client {
        redis = redis.with_client_certificate(certificate.bytes.clone(), key.bytes.clone());
    }
    if !tls.verify {
        redis = redis.without_verification();
    }
    match sentinels {
        Some(list) => redis.with_sentinels(&list.each().collect::<Vec<_>>().join(",")),
        None => Ok(redis),
    }
}

fn nats_of(config: &NatsConfig) -> Result<NatsSettings, EngineError> {
    let servers = config.servers.each().flat_map(|line| line.split(',')).map(str::trim);
    let storage = match config.storage {
        NatsStorage::Memory => engine::NatsStorage::Memory,
        NatsStorage::File => engine::NatsStorage::File,
    };
    let mut nats = NatsSettings::new(servers, storage)?;
    nats.replicas = config.replicas;
    nats.randomizes = config.randomizes;
    nats.credentials.clone_from(&config.credentials);
    nats.authorities = config.authorities.as_ref().map(|pem| pem.file.clone());
    let client = config.client.as_ref();
    nats.client = client.map(|(certificate, key)| (certificate.file.clone(), key.file.clone()));
    Ok(nats)
}

fn engine_of(config: &EngineConfig) -> Result<Engine, EngineError> {
    match config {
        EngineConfig::Redis(redis) => Ok(Engine::Redis(redis_of(redis)?)),
        EngineConfig::Nats(nats) => Ok(Engine::Nats(nats_of(nats)?)),
    }
}
