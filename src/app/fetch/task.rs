//! The task that sends requests to the application.
//!
//! Without a request in flight, a lookup is sent at once. Otherwise lookups are collected and sent
//! together: when a request is answered, when they fill a request, or after [`GATHER`].

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Failure};
use super::lookup_queue::{Lookup, LookupQueue};
use crate::clock::Clock;
use crate::types::{Extra, PresenceId, StreamName};

/// Maximum number of requests in flight: enough for a page that follows many streams, and few enough
/// for the application to serve at a time.
const MAX_REQUESTS: usize = 16;

/// Time for which lookups are collected while a request is in flight.
const GATHER: Duration = Duration::from_millis(10);

/// Maximum number of lookups taken from the queue per turn.
const LOOKUPS_A_TURN: usize = 1024;

/// Minimum time between two log lines about failures.
const QUIET: Duration = Duration::from_secs(10);

pub(super) struct Task {
    client: Arc<Client>,
    clock: Arc<Clock>,
    lookups: LookupQueue,
    complained: Option<Instant>,
    /// Number of failures since the last log line.
    untold: u64,
}

type Asked = (StreamName, Vec<PresenceId>, Result<HashMap<PresenceId, Extra>, Failure>);

impl Task {
    pub(super) fn new(client: Client, clock: Arc<Clock>) -> Self {
        let client = Arc::new(client);
        Self { client, clock, lookups: LookupQueue::default(), complained: None, untold: 0 }
    }

    /// Works until the stop, or until all handles are dropped.
    pub(super) async fn run(
        mut self,
        mut lookups: mpsc::Receiver<Lookup>,
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
                    self.complete(asked);
                }
                count = lookups.recv_many(&mut taken, LOOKUPS_A_TURN) => {
                    if count == 0 {
                        return;
                    }
                    let now = self.clock.now();
                    taken.drain(..).for_each(|lookup| self.lookups.ask(lookup, now));
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

    fn complete(&mut self, (stream, ids, said): Asked) {
        let said = said.map_err(|failure| {
            self.complain(&failure);
            failure.outcome
        });
        self.lookups.complete(&stream, ids, said, self.clock.now());
    }

    /// Logs a failure, unless one was logged recently.
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
            "failed to ask the application about members: {reason}; they join without its data"
        );
    }
}

async fn ask(client: Arc<Client>, stream: StreamName, ids: Vec<PresenceId>) -> Asked {
    let said = client.ask(&stream, &ids).await;
    (stream, ids, said)
}
