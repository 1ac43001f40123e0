//! A worker's access to the log of its partition.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::EngineError;
use super::event::{Cursor, Event};
use super::feed::Progress;
use super::requests::{Follow, Requests};
use super::snapshots::{Snapshot, Snapshots};

/// Events that wait for a worker, at most. Then the follower waits, and what arrives meanwhile is read later.
const MAX_EVENTS: usize = 16;

/// A worker's access to the log of its partition.
#[derive(Debug)]
pub struct PartitionLog {
    /// What happens in the log, from the first [`PartitionLog::follow`] on. That replaces it: what it had from
    /// before is gone. It ends when the engine's tasks do.
    pub events: mpsc::Receiver<Event>,
    /// Keeps `events` open until the first `follow`.
    idle: Option<mpsc::Sender<Event>>,
    requests: Arc<Requests>,
    progress: Arc<Progress>,
    snapshots: Snapshots,
}

impl PartitionLog {
    pub(in crate::engine) fn new(
        requests: Arc<Requests>,
        progress: Arc<Progress>,
        snapshots: Snapshots,
    ) -> Self {
        let (sender, events) = mpsc::channel(1);
        Self { events, idle: Some(sender), requests, progress, snapshots }
    }

    /// Appends a batch. One at a time: until it comes back in the log or has failed, no other.
    ///
    /// While the log isn't followed, or there is no connection, it waits.
    pub fn append(&mut self, batch: Bytes) {
        self.requests.append(batch);
    }

    /// Begins to follow the log behind a batch; 0: from its beginning.
    ///
    /// A batch that is being appended either comes back in the log, or fails.
    pub fn follow(&mut self, after: Cursor) {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        self.events = events;
        self.idle = None;
        self.requests.follow(Follow { after, events: sender });
    }

    /// Gives the state as of a batch, in chunks of a snapshot, after [`Event::StateWanted`].
    pub fn give_state(&self, at: Cursor, chunks: Vec<Bytes>) {
        self.requests.give_state(at, chunks);
    }

    /// The newest snapshot, with the cursor of the last batch in it.
    pub async fn read_snapshot(&self) -> Result<Option<Snapshot>, EngineError> {
        self.snapshots.read().await
    }

    /// Writes a snapshot and trims the log ([`Snapshots::write`]).
    pub async fn write_snapshot(&self, at: Cursor, chunks: Vec<Bytes>) -> Result<(), EngineError> {
        self.snapshots.write(at, chunks).await
    }

    /// Access to the snapshots for another task, while this one takes events.
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// Bytes of the batches in the log since its last snapshot, as far as they are delivered. An estimate: what
    /// was appended while another node wrote a snapshot isn't in it.
    pub fn bytes_since_snapshot(&self) -> u64 {
        self.progress.bytes()
    }
}
