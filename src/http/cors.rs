//! Answers that pages of other origins may read.

use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::reply::Refusal;
use crate::auth::Origins;

/// How long a browser may remember what it was allowed, in seconds; none remembers it for longer.
const REMEMBERED: &str = "7200";

/// Whether the page that asks, if it is one, may read the answer. One that is of the broker's own
/// origin says nothing of where it is from.
pub(super) fn check(origins: Option<&Origins>, request: &HeaderMap) -> Result<(), Refusal> {
    let origin = request.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let allowed = origins.is_none_or(|all| origin.is_none_or(|origin| all.allow(Some(origin))));
    if allowed { Ok(()) } else { Err(Refusal::Origin) }
}

/// Lets the page that asked read an answer, if it may.
pub(super) fn expose(
    origins: Option<&Origins>,
    request: &HeaderMap,
    mut response: Response,
) -> Response {
    let headers = response.headers_mut();
    let Some(allowed) = origins else {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return response;
    };
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let origin = request.get(header::ORIGIN);
    if let Some(origin) = origin.filter(|it| it.to_str().is_ok_and(|it| allowed.allow(Some(it)))) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

/// Answers a browser that asks whether a page may send a request with these headers.
pub(super) fn preflight(origins: Option<&Origins>, request: &HeaderMap, names: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
    if let Ok(names) = HeaderValue::from_str(names) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    expose(origins, request, response)
}
