//! The handle by which connections fetch the application's data.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, Settings};
use super::lookup_queue::{Answer, Lookup};
use super::task::Task;
use crate::clock::Clock;
use crate::telemetry::Instruments;
use crate::types::{Extra, FetchOutcome, PresenceId, StreamName};

/// Capacity of the task's queue; callers wait while it is full.
const QUEUE: usize = 4096;

/// Handle of the task that fetches the application's data.
#[derive(Debug)]
pub struct Fetcher {
    lookups: mpsc::Sender<Lookup>,
    timeout: Duration,
    instruments: Arc<Instruments>,
}

impl Fetcher {
    /// Starts the task, which ends at `stop`. Fails if the URL needs TLS and the system's certificate
    /// authorities can't be read.
    pub fn start(
        settings: Settings,
        clock: &Arc<Clock>,
        instruments: &Arc<Instruments>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let (lookups, receiver) = mpsc::channel(QUEUE);
        let timeout = settings.timeout;
        let client = Client::new(settings)?;
        tasks.spawn(Task::new(client, Arc::clone(clock)).run(receiver, stop.clone()));
        Ok(Arc::new(Self { lookups, timeout, instruments: Arc::clone(instruments) }))
    }

    /// Maximum time of an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Fetches the application's data about a member of a stream; `None` after the timeout.
    pub async fn ask(self: Arc<Self>, stream: StreamName, id: PresenceId) -> Extra {
        let asked = async {
            let (answer, answered) = oneshot::channel();
            self.lookups.send(Lookup { stream, id, answer }).await.ok()?;
            answered.await.ok()
        };
        let late = Answer { outcome: FetchOutcome::Timeout, extra: None };
        let Answer { outcome, extra } = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Some(answer)) => answer,
            Err(_) => late,
            Ok(None) => return None, // the broker stops
        };
        self.instruments.fetches.increment(outcome);
        extra
    }
}
