//! The process: puts the layers together, listens, and stops in good order.
//!
//! ```text
//! run ─ start shards and heartbeat ─ listen ─ "ready" ─ wait for a signal
//!     ─ stop: not ready, no new sockets ─ shards finish and tell no more ─ every socket is told
//!       and closed ─ wait for them, at most the shutdown timeout
//! ```

mod announce;
mod listener;
mod pending;
mod room;
mod routes;
mod signals;
mod state;
mod tls;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use metrics::{gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, TimestampPrecision, TlsFiles};
use crate::fetch::{self, Fetcher};
use crate::net::{ConnectionLimits, Context, Heartbeat, Liveness, Settings, TokenName};
use crate::protocol::action_cable::{Parameters, PingPrecision};
use crate::shard;
use crate::state::{KeeperGuard, OpenError};
use crate::telemetry::{Instruments, metrics as names};

pub use listener::BindError;

use listener::Serving;
use room::Room;
use routes::Routes;
use tls::Certificate;

/// How often the distributions are folded, so that they don't grow between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// How often sessions are looked at, to forget those whose time is over.
const SESSIONS_LOOK: Duration = Duration::from_secs(1);

/// Upper bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Why the broker can't serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address can't be listened on: the configuration is wrong.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate can't be used any more.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory of the state can't be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The application has to be asked with TLS, and there is nobody to trust.
    #[error(
        "--presence-fetch-url: TLS needs the system's certificate authorities: {0}; install \
         ca-certificates, or name a file in SSL_CERT_FILE"
    )]
    Authorities(io::Error),
    /// Metrics can't be set up.
    #[error("metrics can't be set up: {0}")]
    Metrics(String),
    /// The system refuses something every process needs.
    #[error("the system refuses what the broker needs: {0}")]
    System(#[from] io::Error),
    /// A shard's task panicked.
    #[error("a shard failed and its streams are lost; the log says where")]
    Shard,
}

/// Serves until the process is told to stop. The runtime is the caller's.
pub async fn run(config: Config) -> Result<(), Error> {
    let open_files = raise_open_file_limit();
    let prometheus = install_metrics(open_files)?;
    let room = Room::new(open_files, Routes::count(&config));
    let broker = Broker::start(&config, &room)?;
    let context = &broker.context;
    let routes = Routes::open(&config, context, prometheus.clone())?;
    let mut signals = signals::Signals::new()?;
    let certificate = config.tls.clone().map(|files| load(files, &context.instruments));
    let liveness = config.liveness_interval.map(|interval| interval + config.liveness_timeout);
    let serving = Serving {
        user_timeout: liveness,
        handshake_timeout: config.handshake_timeout,
        max_header: config.max_header_size,
        instruments: Arc::clone(&context.instruments),
        certificate: certificate.transpose()?,
        requests: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    let addresses = routes.addresses;
    routes.serve(&room, &context.clock, &serving);
    tokio::spawn(upkeep(prometheus));
    let connections = (context.settings.connection_limits.connections, room.connections());
    announce::ready(&config, &addresses, open_files, connections);

    let signal = tokio::select! {
        name = signals.recv() => name,
        () = broker.shard_failed.cancelled() => return Err(Error::Shard),
    };
    tracing::info!(signal, connections = context.connections(), "stopping");
    signals.exit_on_next();
    broker.stop(&serving, config.shutdown_timeout).await;
    Ok(())
}

/// The certificate, and what keeps it current.
fn load(files: TlsFiles, instruments: &Arc<Instruments>) -> Result<Arc<Certificate>, Error> {
    let (certificate, reloader) = Certificate::load(files, Arc::clone(instruments))?;
    tokio::spawn(reloader.run(signals::hangup()?));
    Ok(certificate)
}

/// The parts that run, and what stops them.
struct Broker {
    context: Arc<Context>,
    /// The shards and what they still deliver.
    shards: TaskTracker,
    shards_stop: CancellationToken,
    shard_failed: CancellationToken,
    /// Looks after the files of the state, until the shards have closed them.
    _keeping: Option<KeeperGuard>,
    heartbeat_stop: CancellationToken,
    heartbeat: TaskTracker,
}

impl Broker {
    fn start(config: &Config, room: &Room) -> Result<Self, Error> {
        let clock = Clock::new();
        let instruments = Arc::new(Instruments::new());
        let (shards, heartbeat) = (TaskTracker::new(), TaskTracker::new());
        let (shards_stop, heartbeat_stop) = (CancellationToken::new(), CancellationToken::new());
        // before the state is read, which is no pause however long it takes
        heartbeat.spawn(Arc::clone(&clock).watch(heartbeat_stop.clone()));
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        gauge!(names::START_TIME).set(clock.unix().as_secs_f64());
        let shard_failed = CancellationToken::new();
        let (mut startup, keeping) =
            state::begin(config, cores, streams(config)?, &clock, &instruments)?;
        let sessions = std::mem::take(&mut startup.sessions);
        let router = startup.start(&clock, &instruments, &shards, &shards_stop, &shard_failed);
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
        let settings = settings(config, room);
        let connections = TaskTracker::new();
        let token = TokenName::new(&config.access.jwt_param);
        let access = (config.access.rules(), token, config.trusted_proxies.clone());
        let ways = (router, fetcher);
        let context =
            Context::new(ways, beating, instruments, clock, connections, settings, access);
        heartbeat.spawn(expire_sessions(Arc::clone(&context), heartbeat_stop.clone()));
        context.sessions.restore(sessions, context.clock.now());
        Ok(Self {
            context,
            shards,
            shards_stop,
            shard_failed,
            _keeping: keeping,
            heartbeat_stop,
            heartbeat,
        })
    }

    async fn stop(self, serving: &Serving, timeout: Duration) {
        let all_told = async {
            self.context.stop();
            // first the streams: nobody is told of the leaves that a stop would cause
            self.shards_stop.cancel();
            self.shards.close();
            self.shards.wait().await;
            self.heartbeat_stop.cancel();
            self.heartbeat.close();
            self.heartbeat.wait().await;
            self.context.tasks.close();
            self.context.tasks.wait().await;
            serving.stop.cancel();
            serving.requests.close();
            serving.requests.wait().await;
        };
        if tokio::time::timeout(timeout, all_told).await.is_err() {
            let connections = self.context.connections();
            tracing::warn!(connections, "the shutdown timeout is over: the rest is cut off");
        } else {
            tracing::info!("stopped: every connection was told and closed");
        }
    }
}

/// Lets sessions go whose time is over.
async fn expire_sessions(context: Arc<Context>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(SESSIONS_LOOK);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        context.sessions.expire(context.clock.now());
    }
}

fn streams(config: &Config) -> Result<shard::Settings, Error> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(shard::Settings {
        max_members: config.max_members.unwrap_or(usize::MAX),
        max_records: config.limits.records,
        max_answer: config.max_answer_size,
        presence_ttl: config.presence_ttl,
        occupancy_interval: config.occupancy_interval,
        resume: shard::ResumeSettings {
            ttl: config.sessions_ttl,
            // without liveness, only the kernel's own timeouts end a connection
            longest_doubt: config
                .liveness_interval
                .map_or(config.sessions_ttl, |interval| interval + config.liveness_timeout),
        },
        history: shard::HistorySettings {
            limit: config.history_limit,
            ttl: config.history_ttl,
            max_bytes: config.history_max_bytes,
        },
        seed: u64::from_ne_bytes(seed),
    })
}

fn settings(config: &Config, room: &Room) -> Settings {
    Settings {
        limits: config.limits,
        max_message: config.max_message_size,
        max_outbox: u32::try_from(config.max_outbox_size).unwrap_or(u32::MAX),
        connection_limits: ConnectionLimits {
            connections: config.max_connections.unwrap_or(room.connections()),
            per_address: config.max_connections_per_address,
            per_second: config.max_handshakes_per_second,
        },
        sessions_ttl: config.sessions_ttl,
        ping: Parameters {
            ping_interval: config.ping_interval.unwrap_or_default(),
            ping_precision: match config.ping_timestamp_precision {
                TimestampPrecision::Seconds => PingPrecision::Seconds,
                TimestampPrecision::Milliseconds => PingPrecision::Milliseconds,
                TimestampPrecision::Nanoseconds => PingPrecision::Nanoseconds,
            },
        },
    }
}

fn install_metrics(open_files: u64) -> Result<PrometheusHandle, Error> {
    let failed = |error: &dyn std::error::Error| Error::Metrics(error.to_string());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .map_err(|error| failed(&error))?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
    names::describe();
    gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    gauge!(names::OPEN_FILE_LIMIT).set(open_files as f64);
    drop(histogram!(names::EXPIRY_LAG)); // there from the start
    Ok(handle)
}

async fn upkeep(prometheus: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        prometheus.run_upkeep();
    }
}

/// As many as the system lets this process have.
fn raise_open_file_limit() -> u64 {
    let raised = rlimit::increase_nofile_limit(u64::MAX);
    raised.unwrap_or_else(|error| {
        tracing::warn!(%error, "the open-file limit can't be raised");
        rlimit::Resource::NOFILE.get().map_or(1024, |(soft, _)| soft)
    })
}
