//! Connections that are kept for the next call.
//!
//! A server may close a kept connection at the moment at which the next call is sent over it, and nobody can tell then
//! whether the call has run. So a connection is used again only for a time that is shorter than what servers keep it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::connect::Connector;
use crate::clock::Clock;

/// Time for which a connection is kept unless the server says its own: Node's is 5 s.
const KEPT: Duration = Duration::from_secs(4);

/// The longest.
const MAX_KEPT: Duration = Duration::from_secs(60);

/// By how much the server's own time is undercut.
const MARGIN: Duration = Duration::from_secs(1);

/// The sending end of a connection.
pub(super) type Sender = SendRequest<String>;

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    host: String,
    port: u16,
    kept: Mutex<VecDeque<Kept>>,
    clock: Arc<Clock>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Kept {
    sender: Sender,
    until: Instant,
}

impl Pool {
    pub(super) fn new(
        connector: Connector,
        (host, port): (String, u16),
        clock: &Arc<Clock>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        let kept = Mutex::default();
        Self { connector, host, port, kept, clock: Arc::clone(clock), tasks, stop }
    }

    /// A connection that can send: the one used last, or a new one.
    pub(super) async fn take(&self) -> Result<Sender, String> {
        while let Some(mut sender) = self.last() {
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        self.open().await
    }

    /// Keeps a connection for the next call, if the answer's headers don't say otherwise.
    pub(super) fn keep(&self, sender: Sender, headers: &HeaderMap) {
        let kept = timeout(headers).map_or(KEPT, |kept| kept.saturating_sub(MARGIN).min(MAX_KEPT));
        if !sender.is_closed() && !kept.is_zero() {
            let until = self.clock.now() + kept;
            self.kept.lock().push_back(Kept { sender, until });
        }
    }

    /// The connection that was used last, if it is still kept. Drops those that aren't.
    fn last(&self) -> Option<Sender> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        while kept.front().is_some_and(|it| it.until <= now) {
            kept.pop_front();
        }
        while let Some(Kept { sender, until }) = kept.pop_back() {
            if now < until && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    async fn open(&self) -> Result<Sender, String> {
        let stream = self.connector.connect_to(&self.host, self.port).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| error.to_string())?;
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(connection).await });
        Ok(sender)
    }
}

/// `Keep-Alive: timeout=5`.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = text.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}
