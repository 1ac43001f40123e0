//! What all connections share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use warp::http::HeaderName;

use super::admission::{Absent, Admission, AdmissionError, ConnectionLimits, Permit};
use super::heartbeat::Heartbeat;
use crate::auth;
use crate::clock::Clock;
use crate::config::Proxies;
use crate::fetch::Fetcher;
use crate::node::{Router, Sessions};
use crate::outbound::Identities;
use crate::protocol::action_cable::Parameters;
use crate::telemetry::Instruments;
use crate::types::Limits;

/// What all connections share.
#[derive(Debug)]
pub struct Context {
    /// The way to the streams.
    pub router: Arc<Router>,
    /// The way to the application, which may have something to say of those who join.
    pub fetcher: Option<Arc<Fetcher>>,
    /// Who pings.
    pub heartbeat: Arc<Heartbeat>,
    /// What is counted.
    pub instruments: Arc<Instruments>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// Who waits for the connections' tasks at the end.
    pub tasks: TaskTracker,
    /// What a client may ask for.
    pub settings: Settings,
    /// Who may connect and what they may follow.
    pub access: auth::Access,
    /// The name under which a client sends its token.
    pub token: TokenName,
    /// Whose word counts about where a client is.
    pub proxies: Proxies,
    /// Whose connections are whose.
    pub identities: Arc<Identities>,
    /// The sessions that can be resumed.
    pub sessions: Arc<Sessions>,
    admission: Arc<Admission>,
    /// Clients that poll, between two polls.
    pub(super) absent: Arc<Absent>,
    stopping: AtomicBool,
}

/// Under what name a handshake carries a token.
#[derive(Clone, Debug)]
pub struct TokenName {
    pub(super) parameter: String,
    pub(super) header: Option<HeaderName>,
}

impl TokenName {
    /// A parameter of the query, and the header of the same name with `X-` in front.
    pub fn new(parameter: &str) -> Self {
        let header = format!("x-{parameter}").parse().ok();
        Self { parameter: parameter.to_owned(), header }
    }
}

/// What holds for every connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What a client may ask for.
    pub limits: Limits,
    /// Largest message, in bytes.
    pub max_message: usize,
    /// Most bytes that wait for a slow client.
    pub max_outbox: u32,
    /// How many connections there may be.
    pub connection_limits: ConnectionLimits,
    /// How long a session can be resumed after its connection ended; zero is not at all.
    pub sessions_ttl: Duration,
    /// How a client is pinged that doesn't ask for something else.
    pub ping: Parameters,
}

impl Context {
    /// Puts together what connections share.
    pub fn new(
        (router, fetcher): (Arc<Router>, Option<Arc<Fetcher>>),
        heartbeat: Arc<Heartbeat>,
        instruments: Arc<Instruments>,
        clock: Arc<Clock>,
        tasks: TaskTracker,
        settings: Settings,
        (access, token, proxies): (auth::Access, TokenName, Proxies),
    ) -> Arc<Self> {
        let (admission, stopping) =
            (Admission::new(settings.connection_limits), AtomicBool::new(false));
        let sessions = Sessions::new(settings.sessions_ttl, instruments.sessions_parked.clone());
        Arc::new(Self {
            router,
            fetcher,
            heartbeat,
            instruments,
            clock,
            tasks,
            settings,
            access,
            token,
            proxies,
            identities: Arc::default(),
            sessions: Arc::new(sessions),
            admission,
            absent: Arc::default(),
            stopping,
        })
    }

    /// Refuses new connections from here on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether the broker is on its way out.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// A permit for a connection from an address, if there is one or a client that polls makes room.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, AdmissionError> {
        self.admission.admit(address, self.clock.now(), &self.absent)
    }
}
