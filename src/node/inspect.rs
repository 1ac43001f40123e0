//! The dashboard's queries to all shards: sizes of streams, members of one, and their events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::job::Job;
use super::query::{Attendance, ObserverSender, Query, Tally};
use super::router::{Router, Unavailable};
use crate::shard::{StreamSize, Totals};
use crate::types::{PresenceChange, StreamName};

/// Events that may wait for an observer before some are dropped.
const EVENTS: usize = 256;

/// The state of all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Totals.
    pub totals: Totals,
    /// Counters.
    pub tally: Tally,
    /// The largest streams, largest first.
    pub largest: Vec<StreamSize>,
    /// Number of observers.
    pub observers: usize,
}

/// A subscription of the dashboard to a stream's member events. It isn't a subscriber: no member
/// sees it, and no delivery waits for it.
#[derive(Debug)]
pub struct Observer {
    events: mpsc::Receiver<Arc<PresenceChange>>,
    missed: Arc<AtomicU64>,
    shard: mpsc::Sender<Job>,
}

impl Observer {
    /// The next event; `None` after the stop.
    pub async fn next(&mut self) -> Option<Arc<PresenceChange>> {
        self.events.recv().await
    }

    /// Number of events dropped since the last call.
    pub fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.events.close();
        // without room, the next observer's query cleans up
        drop(self.shard.try_send(Job::Query(Query::Prune)));
    }
}

/// Queries all shards and returns the largest streams. Shards answer in slices, so nothing else is
/// held up.
pub async fn survey(router: &Router, max: usize) -> Result<Survey, Unavailable> {
    let mut survey = Survey::default();
    for shard in router.shards() {
        let mut next = Some(0);
        while let Some(place) = next {
            let (answer, answered) = oneshot::channel();
            let query = Query::Survey { place, max, answer };
            shard.send(Job::Query(query)).await.map_err(|_| Unavailable::Stopping)?;
            let part = answered.await.map_err(|_| Unavailable::Stopping)?;
            survey.largest.extend(part.largest);
            StreamSize::keep_largest(&mut survey.largest, max);
            next = part.next;
            if next.is_none() {
                survey.add(part.totals, part.tally);
                survey.observers += part.observers;
            }
        }
    }
    Ok(survey)
}

/// The first members of a stream, at most so many, and at most so many bytes of infos.
pub async fn attendance(
    router: &Router,
    stream: StreamName,
    max: (usize, usize),
) -> Result<Attendance, Unavailable> {
    let (answer, answered) = oneshot::channel();
    let shard = router.shard(&stream).ok_or(Unavailable::Stopping)?;
    let query = Query::Attendance { stream, max, answer };
    shard.send(Job::Query(query)).await.map_err(|_| Unavailable::Stopping)?;
    answered.await.map_err(|_| Unavailable::Stopping)
}

/// Subscribes to a stream's member events from now on.
pub async fn observe(router: &Router, stream: StreamName) -> Result<Observer, Unavailable> {
    let shard = router.shard(&stream).ok_or(Unavailable::Stopping)?;
    let (sender, events) = mpsc::channel(EVENTS);
    let missed = Arc::<AtomicU64>::default();
    let observer = ObserverSender { stream, events: sender, missed: Arc::clone(&missed) };
    let query = Query::Observe(observer);
    shard.send(Job::Query(query)).await.map_err(|_| Unavailable::Stopping)?;
    Ok(Observer { events, missed, shard: shard.clone() })
}

impl Survey {
    fn add(&mut self, totals: Totals, tally: Tally) {
        let (all, done) = (&mut self.totals, &mut self.tally);
        all.streams += totals.streams;
        all.subscriptions += totals.subscriptions;
        all.parked += totals.parked;
        all.members += totals.members;
        all.records += totals.records;
        all.publications += totals.publications;
        all.history_bytes += totals.history_bytes;
        done.commands += tally.commands;
        done.publications += tally.publications;
        done.deliveries += tally.deliveries;
        done.joins += tally.joins;
        done.leaves += tally.leaves;
    }
}
