//! Inboxes of followers: what the subscribed connection brings, bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::meta::Meta;
use crate::engine::feed::Delivered;
use crate::engine::recent::Entry;

/// Inputs that wait for a follower, at most. What comes then is dropped, and read from the log later.
const MAX_INPUTS: usize = 64;

/// What a follower is told.
#[derive(Debug)]
pub(super) struct Input {
    /// Number of the link that it came by.
    pub(super) link: u64,
    pub(super) news: News,
}

/// What has happened to a log.
#[derive(Debug)]
pub(super) enum News {
    /// An entry was published, in a round.
    Published(u64, Entry),
    /// The log is like this, and all that was published before has been delivered to this inbox.
    Checked {
        /// What the log is.
        meta: Meta,
        /// What the follower had delivered before Redis was asked.
        delivered: Delivered,
    },
}

/// A follower's end.
#[derive(Debug)]
pub(super) struct Inbox {
    inputs: mpsc::Receiver<Input>,
    has_dropped: Arc<AtomicBool>,
}

/// The connection's end.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    inputs: mpsc::Sender<Input>,
    has_dropped: Arc<AtomicBool>,
}

/// Both ends.
pub(super) fn inbox() -> (Outlet, Inbox) {
    let (sender, inputs) = mpsc::channel(MAX_INPUTS);
    let has_dropped = Arc::new(AtomicBool::new(false));
    (
        Outlet { inputs: sender, has_dropped: Arc::clone(&has_dropped) },
        Inbox { inputs, has_dropped },
    )
}

impl Outlet {
    /// Never waits.
    pub(super) fn send(&self, input: Input) {
        if self.inputs.try_send(input).is_err() {
            self.has_dropped.store(true, Ordering::Release);
        }
    }
}

impl Inbox {
    /// Waits for the next input; never ends before the engine's tasks do.
    pub(super) async fn next(&mut self) -> Input {
        match self.inputs.recv().await {
            Some(input) => input,
            None => std::future::pending().await,
        }
    }

    /// Whether inputs were dropped since the last call, and all that weren't have been taken.
    pub(super) fn has_gap(&self) -> bool {
        self.inputs.is_empty() && self.take_dropped()
    }

    /// Whether inputs were dropped since the last call.
    pub(super) fn take_dropped(&self) -> bool {
        self.has_dropped.swap(false, Ordering::AcqRel)
    }
}
