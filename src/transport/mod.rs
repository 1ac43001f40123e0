//! WebSocket connections: the handshake, the task that reads each one, and the heartbeat that
//! pings them all.

mod connection;
mod ending;
mod handshake;
mod heartbeat;
mod resume;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use warp::http::HeaderName;

pub use connection::Connection;
pub use handshake::route;
pub use heartbeat::{Heartbeat, Liveness};

use crate::auth;
use crate::clock::Clock;
use crate::fanout::{Hub, Identities, Sessions};
use crate::protocol::action_cable::Parameters;
use crate::telemetry::Instruments;
use crate::types::Limits;

/// What all connections share.
#[derive(Debug)]
pub struct Context {
    /// The way to the streams.
    pub hub: Arc<Hub>,
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
    /// Whose connections are whose.
    pub identities: Arc<Identities>,
    /// The sessions that can be resumed.
    pub sessions: Arc<Sessions>,
    open: AtomicUsize,
    stopping: AtomicBool,
}

/// Under what name a handshake carries a token.
#[derive(Clone, Debug)]
pub struct TokenName {
    parameter: String,
    header: Option<HeaderName>,
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
    /// Most connections at once.
    pub max_connections: usize,
    /// How long a session can be resumed after its connection ended; zero is not at all.
    pub sessions_ttl: Duration,
    /// How a client is pinged that doesn't ask for something else.
    pub ping: Parameters,
    /// How long a peer may leave sent bytes unacknowledged before its kernel is given up; zero
    /// for the system's own idea.
    pub user_timeout: Duration,
}

impl Context {
    /// Puts together what connections share.
    pub fn new(
        hub: Arc<Hub>,
        heartbeat: Arc<Heartbeat>,
        instruments: Arc<Instruments>,
        clock: Arc<Clock>,
        tasks: TaskTracker,
        settings: Settings,
        (access, token): (auth::Access, TokenName),
    ) -> Arc<Self> {
        let (open, stopping) = (AtomicUsize::new(0), AtomicBool::new(false));
        let sessions = Sessions::new(settings.sessions_ttl, instruments.sessions_parked.clone());
        Arc::new(Self {
            hub,
            heartbeat,
            instruments,
            clock,
            tasks,
            settings,
            access,
            token,
            identities: Arc::default(),
            sessions: Arc::new(sessions),
            open,
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
        self.open.load(Ordering::Relaxed)
    }

    /// A place for a connection, if there is one.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let most = self.settings.max_connections;
        let more = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

/// One connection's place among the allowed number; free again when dropped.
#[derive(Debug)]
pub struct Place(Arc<Context>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
