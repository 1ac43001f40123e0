//! What the dashboard needs of the broker.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Secret;
use crate::node::Router;

/// What the dashboard needs.
pub struct Dashboard {
    /// The time.
    pub clock: Arc<Clock>,
    /// When the broker started.
    pub started: Instant,
    /// Queries the streams.
    pub router: Arc<Router>,
    /// Tracker of tasks, awaited at shutdown.
    pub tasks: TaskTracker,
    /// Number of open connections.
    pub connections: Box<dyn Fn() -> usize + Send + Sync>,
    /// The key of the events; without one, only this machine may read them.
    pub key: Option<Secret>,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("key", &self.key).finish_non_exhaustive()
    }
}
