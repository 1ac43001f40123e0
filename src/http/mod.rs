//! What the application, operators and Prometheus talk to: publishing, presence, health, metrics;
//! and pages for people.
//!
//! Every answer that isn't 2xx says why, as `{"error":"…"}`.

mod body;
pub mod dashboard;
mod element;
pub mod pages;
mod presence;
pub mod publish;
mod put;
mod reply;
mod rooms;
mod status;

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

pub use reply::recover;
pub use rooms::{Rooms, rooms};
pub use status::{about, health, metrics};

use crate::clock::Clock;
use crate::config::Secret;
use crate::fetch::Fetcher;
use crate::node::{Router, Sessions};
use crate::outbound::Identities;
use crate::types::Limits;

/// What the application's endpoints need.
#[derive(Debug)]
pub struct Api {
    /// What time it is.
    pub clock: Arc<Clock>,
    /// The way to the streams.
    pub router: Arc<Router>,
    /// The way to the application, which may have something to say of those whom it puts.
    pub fetcher: Option<Arc<Fetcher>>,
    /// Whose connections are whose.
    pub identities: Arc<Identities>,
    /// The sessions that can be resumed.
    pub sessions: Arc<Sessions>,
    /// What a publisher must know.
    pub broadcast_key: Option<Secret>,
    /// What a caller of `/api` must know.
    pub api_key: Option<Secret>,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// What a record of the application's may be like, and the name of a stream.
    pub limits: Limits,
}

/// The application's endpoints.
pub fn api(api: Api) -> BoxedFilter<(Response,)> {
    let api = Arc::new(api);
    publish::routes(&api).or(presence::routes(&api)).unify().boxed()
}
