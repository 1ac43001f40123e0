//! State and settings that all connections share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use warp::http::HeaderName;

use super::admission::{Absent, Admission, AdmissionError, ConnectionLimits, Permit};
use super::application::Application;
use super::heartbeat::Heartbeat;
use crate::app::fetch::Fetcher;
use crate::auth;
use crate::clock::Clock;
use crate::config::Proxies;
use crate::node::{Cluster, Peers, Router, Sessions};
use crate::outbound::Identities;
use crate::protocol::PingParameters;
use crate::telemetry::Instruments;
use crate::types::{Limits, SessionId};

/// State and settings that all connections share.
#[derive(Debug)]
pub struct Context {
    /// Sends inputs to the streams.
    pub router: Arc<Router>,
    /// The other nodes, if there are any.
    pub cluster: Option<Arc<Cluster>>,
    /// Looks joining members up at the application, if configured.
    pub fetcher: Option<Arc<Fetcher>>,
    /// The application that is asked about clients and channels, if configured.
    pub application: Option<Arc<Application>>,
    /// Sends pings.
    pub heartbeat: Arc<Heartbeat>,
    /// Metrics.
    pub instruments: Arc<Instruments>,
    /// The time.
    pub clock: Arc<Clock>,
    /// Tracker of the connections' tasks, awaited at shutdown.
    pub tasks: TaskTracker,
    /// Settings.
    pub settings: Settings,
    /// Access rules.
    pub access: auth::Access,
    /// The name under which clients send their token.
    pub token: TokenName,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub proxies: Proxies,
    /// Connections by the identity of their clients.
    pub identities: Arc<Identities>,
    /// The sessions that can be resumed.
    pub sessions: Arc<Sessions>,
    /// What all nodes do when one is asked to.
    pub peers: Arc<Peers>,
    admission: Admission,
    /// Tracker of what ends of sessions wait for before the application is told.
    pub(super) goodbyes: TaskTracker,
    /// Long-polling clients without a poll under way.
    pub(super) absent: Arc<Absent>,
    stopping: AtomicBool,
}

/// The name under which a handshake carries a token.
#[derive(Clone, Debug)]
pub struct TokenName {
    pub(super) parameter: String,
    pub(super) header: Option<HeaderName>,
}

impl TokenName {
    /// A query parameter, and the header of the same name prefixed with `X-`.
    pub fn new(parameter: &str) -> Self {
        let header = format!("x-{parameter}").parse().ok();
        Self { parameter: parameter.to_owned(), header }
    }
}

/// Settings of all connections.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Limits on clients' commands.
    pub limits: Limits,
    /// Maximum size of a message, in bytes.
    pub max_message: usize,
    /// Maximum size of a connection's outbox, in bytes.
    pub max_outbox: u32,
    /// Limits on connections.
    pub connection_limits: ConnectionLimits,
    /// How long a session outlives its connection; zero disables resuming.
    pub sessions_ttl: Duration,
    /// Pings of Action Cable clients that ask for no others.
    pub ping: PingParameters,
}

impl Context {
    /// Assembles the context.
    pub fn new(
        (router, cluster): (Arc<Router>, Option<Arc<Cluster>>),
        (heartbeat, fetcher, application): (
            Arc<Heartbeat>,
            Option<Arc<Fetcher>>,
            Option<Arc<Application>>,
        ),
        instruments: Arc<Instruments>,
        clock: Arc<Clock>,
        tasks: TaskTracker,
        settings: Settings,
        (access, token, proxies): (auth::Access, TokenName, Proxies),
    ) -> Arc<Self> {
        let (admission, stopping) =
            (Admission::new(settings.connection_limits), AtomicBool::new(false));
        let sessions = Sessions::new(settings.sessions_ttl, instruments.sessions_parked.clone());
        let (identities, sessions) = (Arc::<Identities>::default(), Arc::new(sessions));
        let peers = Peers::new(
            Arc::clone(&router),
            cluster.clone(),
            Arc::clone(&identities),
            Arc::clone(&sessions),
        );
        Arc::new(Self {
            router,
            cluster,
            fetcher,
            application,
            heartbeat,
            instruments,
            clock,
            tasks,
            settings,
            access,
            token,
            proxies,
            identities,
            sessions,
            peers,
            admission,
            goodbyes: TaskTracker::new(),
            absent: Arc::default(),
            stopping,
        })
    }

    /// An id for a new session, which may resume another one; `None` if the system has no randomness.
    pub fn new_session(&self, resumes: Option<SessionId>) -> Option<SessionId> {
        let sid = match &self.cluster {
            None => random_sid()?,
            Some(cluster) => {
                let mut secret = [0; 8];
                getrandom::fill(&mut secret).ok()?;
                cluster.node.session(u64::from_ne_bytes(secret))
            }
        };
        Some(resumes.map_or(sid, |earlier| sid.succeeding(earlier)))
    }

    /// Whether this node knows what the others know.
    pub fn is_current(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.is_current(self.clock.now()))
    }

    /// Refuses new connections from now on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether the broker is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// A permit for a connection from an address, if there is one, or if a long-polling client can
    /// be evicted.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, AdmissionError> {
        self.admission.admit(address, self.clock.now(), &self.absent)
    }
}

/// A random session id; `None` if the system has no randomness.
pub(super) fn random_sid() -> Option<SessionId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(SessionId::from_bits(u128::from_ne_bytes(bytes)))
}
