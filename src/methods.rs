//! The methods that a path takes, so that a request by another one is told which.

use std::future::ready;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::reject::{Reject, custom};

/// A request by a method that its path doesn't take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// The method.
    pub method: Method,
    /// Those that the path takes, as the header `Allow` lists them.
    pub allowed: &'static str,
}

impl Reject for NotAllowed {}

/// Lets requests of these methods pass. `allowed` has all that the path takes, by whatever route.
pub fn only(methods: &'static str, allowed: &'static str) -> BoxedFilter<()> {
    let check = move |method: Method| {
        let passes = methods.split(", ").any(|one| one == method.as_str());
        ready(if passes { Ok(()) } else { Err(custom(NotAllowed { method, allowed })) })
    };
    warp::method().and_then(check).untuple_one().boxed()
}
