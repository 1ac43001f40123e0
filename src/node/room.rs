//! Memory for payloads that wait for the engine: however long that is away, and whatever is to be sent meanwhile, they take
//! no more than this.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of payloads that may wait, in all partitions.
const BYTES: usize = 32 * 1024 * 1024;

/// Bytes of a unit. What is smaller isn't counted: queues bound it by number.
const UNIT: usize = 1024;

/// What is left of it. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// Room for a payload, from when it is queued until it is applied, or dropped. `None` for a small one.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// There is none left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BYTES / UNIT)))
    }

    /// Takes room for so many bytes; waits until there is some.
    pub(super) async fn take(&self, bytes: usize) -> Place {
        let units = units(bytes)?;
        Arc::clone(&self.0).acquire_many_owned(units).await.ok() // it is never closed
    }

    /// Takes room for so many bytes if there is some.
    pub(super) fn try_take(&self, bytes: usize) -> Result<Place, Full> {
        let Some(units) = units(bytes) else { return Ok(None) };
        Arc::clone(&self.0).try_acquire_many_owned(units).map(Some).map_err(|_| Full)
    }
}

/// A payload that is larger than all room has to wait until there is nothing else.
fn units(bytes: usize) -> Option<u32> {
    let units = bytes.min(BYTES) / UNIT;
    u32::try_from(units).ok().filter(|units| *units > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_given_back_with_what_took_it() {
        let room = Room::new();
        assert!(room.take(UNIT - 1).await.is_none(), "small ones aren't counted");
        let half = room.take(BYTES / 2).await;
        assert!(half.is_some());
        assert!(room.try_take(BYTES / 2 + UNIT).is_err());
        assert!(room.try_take(100).is_ok());
        drop(half);
        assert!(room.try_take(BYTES).is_ok());
        assert!(room.take(2 * BYTES).await.is_some(), "the largest comes alone");
    }
}
