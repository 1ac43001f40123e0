//! An address of the application, which is kept connected.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::connect::Connector;
use super::connection::{Open, PING_INTERVAL};

/// Maximum time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// First pause after a failure, and the least; each next is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A connection that ends within this time after its begin is no success.
const YOUNG: Duration = Duration::from_secs(1);

/// The longest time between two pings, for servers that don't like them.
const MAX_PING_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// An address.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Name that its certificate has.
    pub(super) host: String,
    state: Mutex<State>,
    /// Somebody needs it.
    needed: Notify,
    /// How often it took pings for an attack.
    annoyed: AtomicU32,
    /// It is no address of the application any more.
    pub(super) retired: CancellationToken,
}

/// A connection that calls can be sent over.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) sender: SendRequest<Bytes>,
    gone: CancellationToken,
}

/// What is known of a peer.
#[derive(Debug)]
pub(super) enum State {
    /// It is being connected to.
    Connecting,
    /// It is connected.
    Connected(Line),
    /// It couldn't be connected to.
    Failed(String),
}

impl Line {
    /// Nothing more is sent over it.
    pub(super) fn is_gone(&self) {
        self.gone.cancel();
    }
}

impl Peer {
    pub(super) fn new(address: SocketAddr, host: String) -> Arc<Self> {
        Arc::new(Self {
            address,
            host,
            state: Mutex::new(State::Connecting),
            needed: Notify::new(),
            annoyed: AtomicU32::new(0),
            retired: CancellationToken::new(),
        })
    }

    /// What is known of it now.
    pub(super) fn state(&self) -> State {
        match &*self.state.lock() {
            State::Connected(line) if line.gone.is_cancelled() => State::Connecting,
            State::Connected(line) => State::Connected(line.clone()),
            State::Connecting => State::Connecting,
            State::Failed(why) => State::Failed(why.clone()),
        }
    }

    /// Somebody needs it: it isn't to wait for long.
    pub(super) fn is_needed(&self) {
        self.needed.notify_one();
    }

    /// Keeps it connected until it is retired. `changed` hears of each change, `lost` of each end.
    pub(super) async fn run(
        self: Arc<Self>,
        connector: Connector,
        (changed, lost): (Arc<Notify>, Arc<Notify>),
        tasks: TaskTracker,
    ) {
        let mut pause = PAUSE;
        let retired = self.retired.clone();
        let turns = async {
            loop {
                match self.connect(&connector).await {
                    Ok(open) => {
                        pause = PAUSE;
                        self.use_up(open, &changed, &tasks).await;
                        lost.notify_one();
                    }
                    Err(error) => {
                        *self.state.lock() = State::Failed(error.to_string());
                        changed.notify_waiters();
                        lost.notify_one();
                        tokio::time::sleep(PAUSE).await;
                        let rest = pause.saturating_sub(PAUSE);
                        drop(tokio::time::timeout(rest, self.needed.notified()).await);
                        pause = (pause * 2).min(MAX_PAUSE);
                        *self.state.lock() = State::Connecting;
                    }
                }
            }
        };
        retired.run_until_cancelled(turns).await;
    }

    /// Has calls sent over a connection until it takes no more. Those under way end on their own.
    async fn use_up(self: &Arc<Self>, open: Open, changed: &Notify, tasks: &TaskTracker) {
        let gone = self.retired.child_token();
        let line = Line { sender: open.sender.clone(), gone: gone.clone() };
        *self.state.lock() = State::Connected(line);
        changed.notify_waiters();
        let (peer, run) = (Arc::clone(self), open.run(gone.clone(), self.ping_interval()));
        tasks.spawn(async move {
            if run.await {
                peer.annoyed.fetch_add(1, Ordering::Relaxed);
            }
        });
        let is_young = tokio::time::timeout(YOUNG, gone.cancelled()).await.is_ok();
        gone.cancelled().await;
        *self.state.lock() = State::Connecting;
        if is_young {
            tokio::time::sleep(PAUSE).await; // connections that end at once aren't opened in a loop
        }
    }

    fn ping_interval(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.annoyed.load(Ordering::Relaxed).min(8));
        (PING_INTERVAL * factor).min(MAX_PING_INTERVAL)
    }

    async fn connect(&self, connector: &Connector) -> io::Result<Open> {
        let connect = async {
            let stream = connector.connect(self.address, &self.host).await?;
            Open::over(stream).await
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the connection takes too long");
        tokio::time::timeout(CONNECT_TIMEOUT, connect).await.unwrap_or_else(|_| Err(late()))
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("gone", &self.gone.is_cancelled()).finish_non_exhaustive()
    }
}
