//! A follower's way to its worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::event::{Cursor, Event, LostReason};
use super::requests::Follow;

/// Delivers a log's events, from one request to follow it to the next.
#[derive(Debug)]
pub(in crate::engine) struct Feed {
    events: mpsc::Sender<Event>,
    progress: Arc<Progress>,
    /// The end of the log when following began, once it is known.
    end: Option<Cursor>,
    is_caught_up: bool,
}

/// How far a worker is.
#[derive(Debug, Default)]
pub(in crate::engine) struct Progress {
    /// Number of requests to follow.
    follows: AtomicU64,
    delivered: AtomicU64,
    /// Bytes of the batches delivered since the last snapshot.
    bytes: AtomicU64,
    /// Cursor of the last snapshot that is known.
    snapshot: AtomicU64,
}

/// The last delivered batch, at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Delivered {
    /// Number of the request to follow.
    pub(in crate::engine) follow: u64,
    pub(in crate::engine) cursor: Cursor,
}

/// The worker doesn't take events from this feed any more: it asks to follow anew, or has ended.
#[derive(Debug)]
pub(in crate::engine) struct Closed;

impl Feed {
    pub(in crate::engine) fn new(follow: Follow, progress: Arc<Progress>) -> Self {
        progress.begin(follow.after);
        Self { events: follow.events, progress, end: None, is_caught_up: false }
    }

    /// Delivers the next batch. Waits while the worker is busy.
    pub(in crate::engine) async fn deliver(
        &mut self,
        cursor: Cursor,
        at: u64,
        batch: Bytes,
    ) -> Result<(), Closed> {
        self.progress.bytes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.send(Event::Batch { cursor, at, batch }).await?;
        self.progress.delivered.store(cursor.0, Ordering::Release);
        self.look_for_end(cursor).await
    }

    /// Learns where the log ends. What counts is the end when following began.
    pub(in crate::engine) async fn note_end(
        &mut self,
        end: Cursor,
        delivered: Cursor,
    ) -> Result<(), Closed> {
        self.end.get_or_insert(end);
        self.look_for_end(delivered).await
    }

    /// The log may end earlier than it did: what counts is the end that it has next.
    pub(in crate::engine) fn forget_end(&mut self) {
        self.end = None;
    }

    /// Whether all has been delivered that the log had when following began.
    pub(in crate::engine) fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    async fn look_for_end(&mut self, delivered: Cursor) -> Result<(), Closed> {
        if self.is_caught_up || self.end.is_none_or(|end| delivered < end) {
            return Ok(());
        }
        self.is_caught_up = true;
        self.send(Event::CaughtUp).await
    }

    pub(in crate::engine) async fn append_failed(&self) -> Result<(), Closed> {
        self.send(Event::AppendFailed).await
    }

    pub(in crate::engine) async fn state_wanted(&self) -> Result<(), Closed> {
        self.send(Event::StateWanted).await
    }

    pub(in crate::engine) async fn lost(&self, reason: LostReason) -> Result<(), Closed> {
        self.send(Event::Lost(reason)).await
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

impl Progress {
    fn begin(&self, after: Cursor) {
        self.delivered.store(after.0, Ordering::Release);
        self.bytes.store(0, Ordering::Relaxed);
        self.snapshot.store(after.0, Ordering::Relaxed);
        self.follows.fetch_add(1, Ordering::Release); // last: `delivered` reads it first
    }

    /// The last delivered batch.
    pub(in crate::engine) fn delivered(&self) -> Delivered {
        let follow = self.follow();
        Delivered { follow, cursor: Cursor(self.delivered.load(Ordering::Acquire)) }
    }

    /// Number of the last request to follow.
    pub(in crate::engine) fn follow(&self) -> u64 {
        self.follows.load(Ordering::Acquire)
    }

    /// Bytes delivered since the last snapshot.
    pub(in crate::engine) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Learns of the newest snapshot. What was delivered between its cursor and now counts as in it.
    pub(in crate::engine) fn note_snapshot(&self, at: Cursor) {
        if self.snapshot.fetch_max(at.0, Ordering::Relaxed) < at.0 {
            self.bytes.store(0, Ordering::Relaxed);
        }
    }
}
