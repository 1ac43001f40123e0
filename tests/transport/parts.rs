//! The real parts of the broker, put together around pipes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::auth::{self, Access};
use broker::clock::Clock;
use broker::config::Proxies;
use broker::net::{
    Connection, ConnectionLimits, Context, Greeting, Heartbeat, Liveness, Settings, TokenName,
};
use broker::node::{Presence, Router, Startup};
use broker::outbound::{Outbox, Recipient};
use broker::protocol::action_cable;
use broker::protocol::{PingParameters, PingPrecision};
use broker::session::Session;
use broker::shard::{HistorySettings, Input, Publish, ResumeSettings};
use broker::telemetry::Instruments;
use broker::types::{Limits, Pace, SessionId, StreamName};
use bytes::Bytes;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::client::{Client, settle};
use crate::pipe::{Pipe, pipe};
use crate::shard_settings::without_history;

/// What a test may want to be different.
pub(crate) struct Options {
    pub(crate) shards: usize,
    pub(crate) ttl: Duration,
    /// Zero, as most tests look at all that is written.
    pub(crate) sessions_ttl: Duration,
    pub(crate) ping: PingParameters,
    pub(crate) liveness: Liveness,
    pub(crate) max_outbox: u32,
    pub(crate) max_answer: usize,
    pub(crate) pace: Option<Pace>,
    /// How many publications of a stream are kept.
    pub(crate) history: usize,
    pub(crate) access: Access,
}

/// The broker without its doors.
pub(crate) struct Parts {
    pub(crate) context: Arc<Context>,
    pub(crate) router: Arc<Router>,
    heartbeat_stop: CancellationToken,
    _shards_stop: DropGuard,
    sessions: AtomicU64,
    metrics: PrometheusHandle,
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Where clients behind pipes are.
pub(crate) const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// No pings.
pub(crate) const QUIET: PingParameters =
    PingParameters { ping_interval: Duration::ZERO, ping_precision: PingPrecision::Seconds };

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 1,
            ttl: 2 * SECOND,
            sessions_ttl: Duration::ZERO,
            ping: QUIET,
            liveness: Liveness { interval: Duration::ZERO, timeout: SECOND },
            max_outbox: 1 << 20,
            max_answer: 8 << 20,
            pace: None,
            history: 0,
            access: Access::default(),
        }
    }
}

impl Parts {
    /// Starts everything, as the server does.
    pub(crate) fn start(options: &Options) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let instruments = metrics::with_local_recorder(&recorder, Instruments::new);
        let (instruments, metrics) = (Arc::new(instruments), recorder.handle());
        let clock = Clock::new();
        let (tasks, heartbeat_stop) = (TaskTracker::new(), CancellationToken::new());
        let (stop, failed) = (CancellationToken::new(), CancellationToken::new());
        let history = HistorySettings {
            limit: options.history,
            ttl: Duration::from_secs(60),
            max_bytes: usize::MAX,
        };
        let streams = broker::shard::Settings {
            resume: ResumeSettings { ttl: options.sessions_ttl, max_unacked: SECOND },
            max_answer: options.max_answer,
            history,
            ..without_history(options.ttl)
        };
        let router = Startup::empty(options.shards, streams, clock.now()).start(
            &clock,
            &instruments,
            &tasks,
            &stop,
            &failed,
        );
        let heartbeat = Heartbeat::new(Arc::clone(&clock), options.liveness);
        tokio::spawn(Arc::clone(&clock).watch(stop.clone()));
        tokio::spawn(Arc::clone(&heartbeat).run(Arc::clone(&instruments), heartbeat_stop.clone()));
        let settings = Settings {
            limits: Limits { pace: options.pace, ..Limits::default() },
            max_message: 64 * 1024,
            max_outbox: options.max_outbox,
            connection_limits: ConnectionLimits {
                connections: 1000,
                per_address: None,
                per_second: None,
            },
            sessions_ttl: options.sessions_ttl,
            ping: options.ping,
        };
        let access = (options.access.clone(), TokenName::new("jid"), Proxies::default());
        let context = Context::new(
            (Arc::clone(&router), None),
            (heartbeat, None, None),
            instruments,
            clock,
            tasks,
            settings,
            access,
        );
        let shards_stop = stop.drop_guard();
        Self {
            context,
            router,
            heartbeat_stop,
            _shards_stop: shards_stop,
            sessions: AtomicU64::new(1),
            metrics,
        }
    }

    /// A client whose connection has its task.
    pub(crate) fn connect(&self) -> Client {
        self.connect_with(1 << 20).0
    }

    /// A client behind a pipe of a size, and its connection's task.
    pub(crate) fn connect_with(&self, room: usize) -> (Client, JoinHandle<()>) {
        let (near, far) = pipe(room);
        let task = tokio::spawn(self.open(near, self.context.settings.ping, &[]));
        (Client::new(far), task)
    }

    /// A connection without a task.
    pub(crate) fn open(&self, pipe: Pipe, ping: PingParameters, read: &[u8]) -> Connection {
        let place = self.context.admit(NOBODY).expect("a place");
        let outbox =
            Outbox::new(Box::new(pipe), action_cable::CODEC, self.context.settings.max_outbox);
        let sid = self.next_session();
        let read = Bytes::copy_from_slice(read);
        let context = Arc::clone(&self.context);
        let session = (Session::new(sid, &auth::Client::default()), None);
        let connection = Connection::new(
            context,
            place,
            Arc::clone(&outbox),
            session,
            Greeting::Welcome(Vec::new()),
            (None, vec![], &read),
        );
        self.context.heartbeat.add(&outbox, ping);
        connection
    }

    /// Someone to tell things who has no connection.
    pub(crate) fn recipient(&self, pipe: Pipe) -> Recipient {
        Outbox::new(Box::new(pipe), action_cable::CODEC, self.context.settings.max_outbox)
    }

    pub(crate) fn next_session(&self) -> SessionId {
        SessionId::from_bits(self.sessions.fetch_add(1, Ordering::Relaxed).into())
    }

    /// Tells everyone to go, as the server does when it stops.
    pub(crate) fn stop(&self) {
        self.heartbeat_stop.cancel();
    }

    /// Sends an input to the shard of a stream; waits for room.
    pub(crate) async fn send(&self, stream: &str, input: Input<Recipient>) {
        if let Err(full) = self.router.try_send(stream.into(), input) {
            full.wait().await;
        }
    }

    pub(crate) async fn publish(&self, stream: &str, data: &str) {
        self.router.publish(stream.into(), self.publication(data)).await.expect("a shard");
    }

    /// Something that is published now.
    pub(crate) fn publication(&self, data: &str) -> Publish {
        let at = self.context.clock.unix().as_millis().try_into().expect("a time");
        Publish { data: data.into(), labels: None, at, except: None, is_transient: false }
    }

    pub(crate) async fn presence(&self, stream: &str) -> Vec<String> {
        let Presence { total, members } =
            self.router.presence(StreamName::from(stream), true).await.expect("a shard");
        let members = members.expect("the members");
        assert_eq!(total, members.len());
        members.iter().map(|member| member.id.to_string()).collect()
    }

    /// A metric's value, with labels as they are written.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// Nothing is left of anyone.
    pub(crate) async fn assert_empty(&self) {
        settle().await;
        assert_eq!(self.context.connections(), 0);
        for gauge in [
            "connections",
            "sessions",
            "streams",
            "subscriptions",
            "presence_members",
            "presence_records",
        ] {
            assert_eq!(self.metric(&format!("broker_{gauge}")), 0, "{gauge}");
        }
    }
}
