//! The application's endpoints: publishing and presence.

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::api::Api;
use super::{presence, publish};

/// The application's endpoints.
pub fn api(api: Api) -> BoxedFilter<(Response,)> {
    let api = Arc::new(api);
    publish::routes(&api).or(presence::routes(&api)).unify().boxed()
}
