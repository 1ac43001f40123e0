//! What a worker asks of its partition's follower.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::event::{Cursor, Event};

/// What a worker asks of its partition's follower. Later requests replace earlier ones of their kind.
#[derive(Debug, Default)]
pub(in crate::engine) struct Requests {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    follow: Option<Follow>,
    append: Option<Bytes>,
    state: Option<(Cursor, Vec<Bytes>)>,
}

/// To follow the log.
#[derive(Debug)]
pub(in crate::engine) struct Follow {
    /// The batch behind which to begin.
    pub(in crate::engine) after: Cursor,
    /// Where to deliver.
    pub(in crate::engine) events: mpsc::Sender<Event>,
}

impl Requests {
    pub(in crate::engine) fn follow(&self, follow: Follow) {
        self.waiting.lock().follow = Some(follow);
        self.changed.notify_one();
    }

    pub(in crate::engine) fn append(&self, batch: Bytes) {
        self.waiting.lock().append = Some(batch);
        self.changed.notify_one();
    }

    pub(in crate::engine) fn give_state(&self, at: Cursor, chunks: Vec<Bytes>) {
        self.waiting.lock().state = Some((at, chunks));
        self.changed.notify_one();
    }

    /// The state as of a batch, once it is there.
    pub(in crate::engine) fn take_state(&self, at: Cursor) -> Option<Vec<Bytes>> {
        let (of, chunks) = self.waiting.lock().state.take()?;
        (of == at).then_some(chunks)
    }

    pub(in crate::engine) fn asks_to_follow(&self) -> bool {
        self.waiting.lock().follow.is_some()
    }

    pub(in crate::engine) fn take_append(&self) -> Option<Bytes> {
        self.waiting.lock().append.take()
    }

    /// Waits for a request to follow.
    pub(in crate::engine) async fn next_follow(&self) -> Follow {
        loop {
            if let Some(follow) = self.waiting.lock().follow.take() {
                return follow;
            }
            self.changed().await;
        }
    }

    /// Waits for a request. Only for the follower: it wakes one task.
    pub(in crate::engine) async fn changed(&self) {
        self.changed.notified().await;
    }
}
