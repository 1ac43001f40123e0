//! What the application's endpoints share.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Secret;
use crate::fetch::Fetcher;
use crate::node::{Router, Sessions};
use crate::outbound::Identities;
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
    /// Connections by the identity of their clients.
    pub identities: Arc<Identities>,
    /// The sessions that can be resumed.
    pub sessions: Arc<Sessions>,
    /// The key of `/_broadcast`.
    pub broadcast_key: Option<Secret>,
    /// The key of `/api`.
    pub api_key: Option<Secret>,
    /// Maximum size of a request's body, in bytes.
    pub max_body: usize,
    /// Limits on stream names and presence records.
    pub limits: Limits,
}
