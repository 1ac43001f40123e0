//! The events of one dashboard.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::context::Dashboard;
use super::snapshot;
use crate::node::{Observer, Unavailable, inspect};
use crate::types::{PresenceChange, StreamName};

/// Interval of the snapshots.
const INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of streams in a snapshot.
const MAX_STREAMS: usize = 50;

/// Maximum number of the selected stream's members in a snapshot, and of bytes of their infos.
const MAX_MEMBERS: (usize, usize) = (200, 128 * 1024);

/// Maximum number of member events between two snapshots.
const MAX_EVENTS: u64 = 100;

/// A dashboard that reads nothing for this long is closed; its page reconnects.
const STALLED: Duration = Duration::from_secs(30);

/// The events of one dashboard.
pub(super) struct EventStream {
    pub(super) dashboard: Arc<Dashboard>,
    pub(super) stream: Option<StreamName>,
    pub(super) events: mpsc::Sender<Bytes>,
}

/// The stream has ended: the broker stops, or its client is gone or too slow.
struct Closed;

impl From<Unavailable> for Closed {
    fn from(_: Unavailable) -> Self {
        Self
    }
}

impl EventStream {
    pub(super) async fn run_until_closed(self) {
        let (router, events) = (Arc::clone(&self.dashboard.router), self.events.clone());
        tokio::select! {
            _ = self.run() => {}
            () = events.closed() => {}
            () = router.stopped() => {}
        }
    }

    async fn run(self) -> Result<(), Closed> {
        let Dashboard { router, clock, .. } = &*self.dashboard;
        let mut observer = match &self.stream {
            Some(stream) => Some(inspect::observe(router, stream.clone()).await?),
            None => None,
        };
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut happened = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let too_fast = observer.as_ref().map_or(0, Observer::take_missed);
                    let missed = too_fast + u64::saturating_sub(happened, MAX_EVENTS);
                    happened = 0;
                    if missed > 0 {
                        self.send(snapshot::missed(missed, clock.unix())).await?;
                    }
                    self.send(self.snapshot().await?).await?;
                }
                change = next(observer.as_mut()) => {
                    let change = change.ok_or(Closed)?;
                    happened += 1;
                    if happened <= MAX_EVENTS {
                        self.send(snapshot::event(&change, clock.unix())).await?;
                    }
                }
            }
        }
    }

    async fn snapshot(&self) -> Result<Bytes, Closed> {
        let Dashboard { router, clock, connections, started, .. } = &*self.dashboard;
        let survey = inspect::survey(router, MAX_STREAMS).await?;
        let chosen = match &self.stream {
            Some(stream) => {
                Some((stream, inspect::attendance(router, stream.clone(), MAX_MEMBERS).await?))
            }
            None => None,
        };
        let chosen = chosen.as_ref().map(|(stream, attendance)| (*stream, attendance));
        let uptime = clock.now().saturating_duration_since(*started);
        Ok(snapshot::snapshot(&survey, chosen, connections(), (clock.unix(), uptime)))
    }

    async fn send(&self, event: Bytes) -> Result<(), Closed> {
        let sent = tokio::time::timeout(STALLED, self.events.send(event)).await;
        sent.map_err(|_| Closed)?.map_err(|_| Closed)
    }
}

/// The observer's next event; pending for ever without an observer.
async fn next(observer: Option<&mut Observer>) -> Option<Arc<PresenceChange>> {
    match observer {
        Some(observer) => observer.next().await,
        None => std::future::pending().await,
    }
}
