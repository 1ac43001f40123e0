//! Request filters that routes of several modules use.

use std::convert::Infallible;
use std::future::ready;

use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::reject::{Reject, custom};
use warp::{Filter, Rejection};

/// A method that the path doesn't allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this path takes {allowed}, not {method}{hint}")]
pub struct MethodNotAllowed {
    /// The request's method.
    pub method: Method,
    /// The path's methods, as the header `Allow` lists them.
    pub allowed: &'static str,
    /// Rest of the sentence for the person who sent the request.
    pub hint: &'static str,
}

impl Reject for MethodNotAllowed {}

/// Matches requests with one of these methods. `allowed` lists all methods of the path, including
/// those of its other routes, for the answer to a request that none of them matches.
pub fn method(methods: &'static str, allowed: &'static str) -> BoxedFilter<()> {
    method_with_hint(methods, allowed, "")
}

/// Likewise, for a path whose methods may surprise.
pub fn method_with_hint(
    methods: &'static str,
    allowed: &'static str,
    hint: &'static str,
) -> BoxedFilter<()> {
    let check = move |method: Method| {
        let passes = methods.split(", ").any(|one| one == method.as_str());
        ready(if passes { Ok(()) } else { Err(custom(MethodNotAllowed { method, allowed, hint })) })
    };
    warp::method().and_then(check).untuple_one().boxed()
}

/// The query string, empty if there is none. It isn't decoded.
pub fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

/// Matches reads: GET and HEAD.
pub fn readable() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    method("GET, HEAD", "GET, HEAD")
}
