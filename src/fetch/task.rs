//! The task that asks: takes what waits, has a few requests under way, and hands the answers out.
//!
//! A question that finds nothing under way is asked at once. While something is, questions gather:
//! they leave together when that has its answer, when there are enough for a request, or after a
//! moment.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Failure};
use super::lookup_queue::{LookupQueue, Question};
use crate::clock::Clock;
use crate::types::{Extra, PresenceId, StreamName};

/// How many requests are under way at most: those of a page that comes back to its streams soon have their
/// answers, and the application is asked no more at a time than it serves.
const MAX_REQUESTS: usize = 16;

/// How long questions gather while a request is under way.
const GATHER: Duration = Duration::from_millis(10);

/// How many questions are taken in before any is asked.
const QUESTIONS_A_TURN: usize = 1024;

/// How often a failure is worth a line in the log.
const QUIET: Duration = Duration::from_secs(10);

pub(super) struct Task {
    client: Arc<Client>,
    clock: Arc<Clock>,
    lookups: LookupQueue,
    complained: Option<Instant>,
    /// Failures that aren't in the log.
    untold: u64,
}

type Asked = (StreamName, Vec<PresenceId>, Result<HashMap<PresenceId, Extra>, Failure>);

impl Task {
    pub(super) fn new(client: Client, clock: Arc<Clock>) -> Self {
        let client = Arc::new(client);
        Self { client, clock, lookups: LookupQueue::default(), complained: None, untold: 0 }
    }

    /// Asks until it is stopped, or nobody is left who could have a question.
    pub(super) async fn run(
        mut self,
        mut questions: mpsc::Receiver<Question>,
        stop: CancellationToken,
    ) {
        let mut requests = FuturesUnordered::new();
        let mut taken = Vec::new();
        let mut gathered = pin!(tokio::time::sleep(GATHER));
        let mut gathers = false;
        loop {
            let mut due = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(asked) = requests.next() => {
                    due = true;
                    self.settle(asked);
                }
                count = questions.recv_many(&mut taken, QUESTIONS_A_TURN) => {
                    if count == 0 {
                        return;
                    }
                    let now = self.clock.now();
                    taken.drain(..).for_each(|question| self.lookups.ask(question, now));
                }
                () = gathered.as_mut(), if gathers => due = true,
            }
            while requests.len() < MAX_REQUESTS
                && (due || requests.is_empty() || self.lookups.is_full())
                && let Some((stream, ids)) = self.lookups.next()
            {
                requests.push(ask(Arc::clone(&self.client), stream, ids));
            }
            let waits = self.lookups.has_waiting() && requests.len() < MAX_REQUESTS;
            if waits && !gathers {
                gathered.set(tokio::time::sleep(GATHER));
            }
            gathers = waits;
        }
    }

    fn settle(&mut self, (stream, ids, said): Asked) {
        let said = said.map_err(|failure| {
            self.complain(&failure);
            failure.outcome
        });
        self.lookups.settle(&stream, ids, said, self.clock.now());
    }

    /// Tells of a failure in the log, unless that was told lately.
    fn complain(&mut self, Failure { reason, .. }: &Failure) {
        let now = self.clock.now();
        if self.complained.is_some_and(|told| now < told + QUIET) {
            self.untold += 1;
            return;
        }
        self.complained = Some(now);
        let since = std::mem::take(&mut self.untold);
        tracing::warn!(
            url = %self.client.url(),
            failures_not_told = since,
            "the application can't be asked who joins: {reason}; they join without what it knows"
        );
    }
}

async fn ask(client: Arc<Client>, stream: StreamName, ids: Vec<PresenceId>) -> Asked {
    let said = client.ask(&stream, &ids).await;
    (stream, ids, said)
}
