//! The running broker, from its start to its stop.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::again::Before;
use super::application;
use super::cluster::{self, EngineTasks};
use super::error::Error;
use super::listener::Serving;
use super::room::Room;
use super::{settings, state};
use crate::app::fetch::{self, Fetcher};
use crate::clock::Clock;
use crate::config::Config;
use crate::log::NodeId;
use crate::net::{Context, Heartbeat, Liveness, TokenName};
use crate::node::Ends;
use crate::state::KeeperGuard;
use crate::telemetry::{Instruments, metrics as names};
use crate::types::CloseReason;

/// How often expired sessions are removed.
const SESSIONS_LOOK: Duration = Duration::from_secs(1);

/// Maximum time for which a stop waits until all sessions are parked.
const PARKING: Duration = Duration::from_secs(2);

/// Part of a stop's time for which connections wait for the application's answers. In the rest, it is told that their
/// sessions are over.
const LAST_CALLS: (u32, u32) = (3, 4);

/// The running parts and their stop tokens.
pub(super) struct Broker {
    pub(super) context: Arc<Context>,
    /// The shards' tasks.
    shards: TaskTracker,
    shards_stop: CancellationToken,
    pub(super) ends: Ends,
    started: Instant,
    engine: EngineTasks,
    /// Keeps the state's background thread running until the shards have closed their files.
    _keeping: Option<KeeperGuard>,
    heartbeat_stop: CancellationToken,
    heartbeat: TaskTracker,
    /// Those of the calls to the application.
    calls_stop: CancellationToken,
    calls: TaskTracker,
}

impl Broker {
    /// Starts all parts but the listeners.
    pub(super) fn start(config: &Config, room: &Room, before: Before) -> Result<Self, Error> {
        let clock = Clock::new();
        let instruments = Arc::new(Instruments::new());
        let (shards, heartbeat) = (TaskTracker::new(), TaskTracker::new());
        let (shards_stop, heartbeat_stop) = (CancellationToken::new(), CancellationToken::new());
        // before the state is read: that takes time, and is no pause
        heartbeat.spawn(Arc::clone(&clock).watch(heartbeat_stop.clone()));
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        gauge!(names::START_TIME).set(clock.unix().as_secs_f64());
        let (ends, started) = (Ends::default(), clock.now());
        let engine = EngineTasks::default();
        let shard_settings = settings::shards(config)?;
        let (router, sessions, keeping, cluster) = if let Some(cluster) = &config.cluster {
            let (partitions, cluster) =
                cluster::begin(cluster, shard_settings, &clock, &engine, (&ends, before))?;
            let router =
                partitions.start(&clock, &instruments, &shards, &shards_stop, &ends.failed);
            (router, Vec::new(), None, Some(cluster))
        } else {
            let (mut startup, keeping) =
                state::begin(config, cores, shard_settings, &clock, &instruments)?;
            let sessions = std::mem::take(&mut startup.sessions);
            let router = startup.start(&clock, &instruments, &shards, &shards_stop, &ends.failed);
            (router, sessions, keeping, None)
        };
        let fetcher = config.presence_fetch_url.clone().map(|url| {
            let settings = fetch::Settings {
                url,
                key: config.access.asking_key(),
                timeout: config.presence_fetch_timeout,
                max_size: config.limits.info_size,
            };
            Fetcher::start(settings, &clock, &instruments, &shards, &shards_stop)
        });
        let fetcher = fetcher.transpose().map_err(Error::Authorities)?;
        let liveness = Liveness {
            interval: config.liveness_interval.unwrap_or_default(),
            timeout: config.liveness_timeout,
        };
        let beating = Heartbeat::new(Arc::clone(&clock), liveness);
        let run = Arc::clone(&beating).run(Arc::clone(&instruments), heartbeat_stop.clone());
        heartbeat.spawn(run);
        let settings = settings::connections(config, room);
        let connections = TaskTracker::new();
        let token = TokenName::new(&config.access.jwt_param);
        let access = (config.access.rules(), token, config.trusted_proxies.clone());
        let ways = (router, cluster);
        let (calls, calls_stop) = (TaskTracker::new(), CancellationToken::new());
        let application = application::start(config, &clock, &calls, &calls_stop)?;
        let asked = (beating, fetcher, application);
        let context = Context::new(ways, asked, instruments, clock, connections, settings, access);
        if let Some(asked) = context.cluster.as_ref().and_then(|cluster| cluster.take_asked()) {
            let (serve, stop) = (Arc::clone(&context.peers).serve(asked), heartbeat_stop.clone());
            heartbeat.spawn(async move { stop.run_until_cancelled(serve).await });
        }
        if let Some(outdated) = context.cluster.as_ref().map(|cluster| cluster.outdated.clone()) {
            let (context, stop) = (Arc::clone(&context), heartbeat_stop.clone());
            let send_away = async move {
                outdated.cancelled().await;
                let reason = CloseReason::ServerRestart { elsewhere: false };
                context.heartbeat.close_all(reason).await;
            };
            heartbeat.spawn(async move { stop.run_until_cancelled(send_away).await });
        }
        heartbeat.spawn(expire_sessions(Arc::clone(&context), heartbeat_stop.clone()));
        context.sessions.restore(sessions, context.clock.now());
        Ok(Self {
            calls,
            calls_stop,
            context,
            shards,
            shards_stop,
            ends,
            started,
            engine,
            _keeping: keeping,
            heartbeat_stop,
            heartbeat,
        })
    }

    /// Why it can't go on.
    pub(super) fn failure(&self) -> Error {
        self.engine.refusal.get().cloned().map_or(Error::Shard, Error::Engine)
    }

    /// This node.
    pub(super) fn node(&self) -> NodeId {
        self.context.cluster.as_ref().map(|cluster| cluster.node).unwrap_or_default()
    }

    /// How long it has served.
    pub(super) fn served(&self) -> Duration {
        self.context.clock.now().saturating_duration_since(self.started)
    }

    /// Refuses newcomers, and closes all connections for good: what their clients were told may be in no log, so no
    /// session goes on.
    pub(super) async fn abandon(&self) {
        self.context.stop();
        self.context.sessions.abandon();
        let reason = CloseReason::ServerRestart { elsewhere: false };
        self.context.heartbeat.close_all(reason).await;
    }

    /// Refuses newcomers, and closes all connections over a time; those that are still open are served. Whoever is closed
    /// can have the session back at another node.
    pub(super) async fn drain(&self, over: Duration) {
        self.context.stop();
        if !over.is_zero() {
            let elsewhere = self.context.cluster.is_some();
            self.context.heartbeat.drain(CloseReason::ServerRestart { elsewhere }, over).await;
        }
    }

    /// Closes all connections, so that their sessions are parked in the logs, where the other nodes find them.
    async fn park_sessions(&self) {
        let reason = CloseReason::ServerRestart { elsewhere: true };
        self.context.heartbeat.close_all(reason).await;
        let parked = tokio::time::timeout(PARKING, self.context.sessions.all_ended()).await;
        if parked.is_err() {
            tracing::warn!("some sessions aren't parked yet: no other node resumes them");
        }
    }

    /// Stops all parts in order, within a timeout.
    pub(super) async fn stop(self, serving: &Serving, timeout: Duration) {
        let all_stopped = async {
            if self.context.cluster.is_some() {
                self.park_sessions().await;
            }
            self.context.finish_kept_goodbyes().await; // while the log takes that they are known
            // shards first: the leaves that a stop causes are sent to nobody
            self.shards_stop.cancel();
            self.shards.close();
            self.shards.wait().await;
            self.engine.stop.cancel();
            self.engine.tasks.close();
            self.engine.tasks.wait().await;
            self.heartbeat_stop.cancel();
            self.heartbeat.close();
            self.heartbeat.wait().await;
            self.context.say_last_goodbyes();
            self.context.tasks.close();
            let last_calls = timeout * LAST_CALLS.0 / LAST_CALLS.1;
            if tokio::time::timeout(last_calls, self.context.tasks.wait()).await.is_err() {
                self.context.give_up_calls();
                self.context.tasks.wait().await;
            }
            self.context.all_told().await;
            self.calls_stop.cancel();
            self.calls.close();
            self.calls.wait().await;
            serving.stop.cancel();
            serving.requests.close();
            serving.requests.wait().await;
        };
        if tokio::time::timeout(timeout, all_stopped).await.is_err() {
            let (connections, ends_not_told) = (self.context.connections(), self.context.untold());
            tracing::warn!(
                connections,
                ends_not_told,
                "shutdown timeout over: remaining connections are cut"
            );
        } else {
            tracing::info!("stopped: all connections closed");
        }
    }
}

/// Removes expired sessions once a second.
async fn expire_sessions(context: Arc<Context>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(SESSIONS_LOOK);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        context.say_goodbyes_due();
    }
}
