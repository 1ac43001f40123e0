//! Connecting to an engine.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::EngineError;
use super::nats;
use super::opened::Opened;
use super::redis;
use super::settings::{Engine, EngineSettings};

/// Connects to an engine and opens the cluster's logs, which the first node creates. The engine's tasks end at
/// `stop`.
///
/// An engine that can't be used is waited for: it is logged why, at each change and every 10 s. `Err` is what
/// waiting doesn't change: the cluster and this node's settings don't fit together.
pub async fn connect(
    settings: &EngineSettings,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Opened, EngineError> {
    match &settings.engine {
        Engine::Redis(redis) => redis::open(settings, redis, tasks, stop).await,
        // a large future, with all that TLS needs
        Engine::Nats(nats) => Box::pin(nats::open(settings, nats, tasks, stop)).await,
    }
}
