//! What the application's endpoints share.

use std::sync::Arc;

use crate::app::fetch::Fetcher;
use crate::clock::Clock;
use crate::config::Secret;
use crate::node::{Peers, Router};
use crate::types::Limits;

/// What the application's endpoints need.
#[derive(Debug)]
pub struct Api {
    /// The time.
    pub clock: Arc<Clock>,
    /// Sends inputs to the streams.
    pub router: Arc<Router>,
    /// Looks members up that the application puts, if it is asked about them.
    pub fetcher: Option<Arc<Fetcher>>,
    /// Ends sessions, on all nodes.
    pub peers: Arc<Peers>,
    /// The key of `/_broadcast`.
    pub broadcast_key: Option<Secret>,
    /// The key of `/api`.
    pub api_key: Option<Secret>,
    /// Maximum size of a request's body, in bytes.
    pub max_body: usize,
    /// Limits on stream names and presence records.
    pub limits: Limits,
}
