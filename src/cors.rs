//! Which pages may ask over HTTP and read the answer (the Fetch standard, section 3.2). WebSockets
//! need none of it: their handshake always says where a page is from.

use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::auth::Origins;

/// How long a browser may remember the answer to its question, in seconds; none does for longer.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

/// Says whether what is asked for is of the page's own origin.
const SITE: &str = "sec-fetch-site";

/// Whether who asks may, if it is a page. A page of the broker's own origin doesn't say where it is
/// from when it only reads; one of another that embeds what it can't read (as an image, say) doesn't
/// either, and is told apart by what its browser says of the two.
pub fn may_ask(origins: Option<&Origins>, request: &HeaderMap) -> bool {
    let Some(allowed) = origins else { return true };
    let mut from = request.get_all(header::ORIGIN).into_iter();
    match (from.next(), from.next()) {
        (Some(origin), None) => origin.to_str().is_ok_and(|origin| allowed.allow(Some(origin))),
        (Some(_), Some(_)) => false,
        (None, _) => {
            let site = request.get(SITE);
            site.is_none_or(|site| site == "same-origin" || site == "none") || allowed.allow(None)
        }
    }
}

/// Lets the page that asked read an answer, if it may.
pub fn expose(origins: Option<&Origins>, request: &HeaderMap, response: &mut Response) {
    let headers = response.headers_mut();
    if origins.is_none() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = request.get(header::ORIGIN)
        && may_ask(origins, request)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let credentials = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
    }
}

/// Answers a browser that asks first.
pub fn preflight(
    origins: Option<&Origins>,
    request: &HeaderMap,
    methods: &'static str,
) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    expose(origins, request, &mut response);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(allowed: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let mut request = HeaderMap::new();
        for (name, value) in headers {
            request.append(*name, HeaderValue::from_static(value));
        }
        may_ask(Some(&allowed.parse().unwrap()), &request)
    }

    #[test]
    fn pages_of_allowed_origins_and_of_the_own_may_ask() {
        let (own, other) = (("origin", "http://a.example"), ("origin", "http://b.example"));
        let site = |site| ("sec-fetch-site", site);
        assert!(asks("a.example", &[own]));
        assert!(asks("a.example", &[own, site("cross-site")]));
        assert!(!asks("a.example", &[other]));
        assert!(!asks("a.example", &[other, site("same-origin")]));
        assert!(!asks("a.example", &[own, other]), "two answers are none");
        assert!(!asks("a.example", &[("origin", "null")]));
        assert!(asks("a.example", &[]), "not a browser");
        for (what, may) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            assert_eq!(asks("a.example", &[site(what)]), may, "{what}");
        }
        assert!(asks("*", &[site("cross-site")]));
        assert!(may_ask(None, &HeaderMap::new()));
    }
}
