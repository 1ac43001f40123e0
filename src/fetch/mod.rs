//! Asks the application what there is to say of those who join, beside the info that they give
//! themselves: a name, a picture's address. What it answers stands with the record.
//!
//! ```text
//! a join ─▶ Fetcher::ask ─▶ the task: known? ─ else ─▶ a request for all that wait ─▶ the application
//!        ◀─ what it says, or nothing when the time is over ◀─ kept for a while ◀──────┘
//! ```
//!
//! Nobody waits longer than the timeout, whatever the application does, and a join never fails for
//! it. It is asked before a join goes to its stream, so the streams never wait.

mod answer;
mod client;
mod lookup_queue;
mod task;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{AppUrl, Secret};
use crate::telemetry::Instruments;
use crate::types::{Extra, FetchOutcome, PresenceId, StreamName};

use client::Client;
use lookup_queue::{Answer, Question};
use task::Task;

/// How many questions wait for the task before those who ask have to wait, too.
const QUEUE: usize = 4096;

/// Where the application is asked, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where.
    pub url: AppUrl,
    /// What it knows the broker by.
    pub key: Option<Secret>,
    /// How long a join waits for it, at most.
    pub timeout: Duration,
    /// The most that it may say of one, in bytes.
    pub most: usize,
}

/// The way to the application.
#[derive(Debug)]
pub struct Fetcher {
    questions: mpsc::Sender<Question>,
    timeout: Duration,
    instruments: Arc<Instruments>,
}

impl Fetcher {
    /// Starts the task that asks; it ends with `stop`. Fails if the address asks for TLS and the
    /// system has no certificate authorities that can be read.
    pub fn start(
        settings: Settings,
        clock: &Arc<Clock>,
        instruments: &Arc<Instruments>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let (questions, receiver) = mpsc::channel(QUEUE);
        let timeout = settings.timeout;
        let client = Client::new(settings)?;
        tasks.spawn(Task::new(client, Arc::clone(clock)).run(receiver, stop.clone()));
        Ok(Arc::new(Self { questions, timeout, instruments: Arc::clone(instruments) }))
    }

    /// What the application says of somebody in a stream; nothing if it doesn't say it in time.
    pub async fn ask(self: Arc<Self>, stream: StreamName, id: PresenceId) -> Extra {
        let asked = async {
            let (answer, answered) = oneshot::channel();
            self.questions.send(Question { stream, id, answer }).await.ok()?;
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
