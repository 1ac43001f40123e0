//! Snapshots of a partition, which the engine keeps beside its log.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::EngineError;
use super::event::Cursor;

/// A snapshot, with the cursor of the last batch in it.
pub type Snapshot = (Cursor, Vec<Bytes>);

/// Access to the snapshots of a partition. Clones are for tasks of their own.
#[derive(Clone)]
pub struct Snapshots(Arc<dyn Store>);

/// How an engine keeps them.
pub(in crate::engine) trait Store: Send + Sync {
    fn read(&self) -> BoxFuture<'_, Result<Option<Snapshot>, EngineError>>;
    fn write(&self, at: Cursor, chunks: Vec<Bytes>) -> BoxFuture<'_, Result<(), EngineError>>;
}

impl Snapshots {
    pub(in crate::engine) fn new(store: impl Store + 'static) -> Self {
        Self(Arc::new(store))
    }

    /// The newest snapshot, if there is one.
    pub async fn read(&self) -> Result<Option<Snapshot>, EngineError> {
        self.0.read().await
    }

    /// Writes a snapshot. Once it is complete, it replaces the one before, and the log is trimmed up to that:
    /// who has just read the one before can still follow the log behind it.
    ///
    /// Several nodes may do this at the same time: the snapshot with the largest cursor stays.
    pub async fn write(&self, at: Cursor, chunks: Vec<Bytes>) -> Result<(), EngineError> {
        self.0.write(at, chunks).await
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshots(…)")
    }
}
