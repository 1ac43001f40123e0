//! CORS (Fetch standard, section 3.2): which pages may read answers over plain HTTP. WebSockets
//! don't need it, as their handshake always has an `Origin`.

use std::net::IpAddr;

use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::auth::{Access, Origins};

/// How long a browser may cache the answer to a preflight, in seconds: the maximum of all browsers.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

/// `Sec-Fetch-Site`: whether the request is for the page's own origin.
const SITE: &str = "sec-fetch-site";

/// Whether a request may be answered, if a page made it. Reads of the broker's own pages have no
/// `Origin`; neither do embeds by other pages (images, for instance), which `Sec-Fetch-Site` tells
/// apart.
pub fn may_ask(access: &Access, request: &HeaderMap) -> bool {
    let Some(allowed) = &access.origins else { return true };
    if request.contains_key(header::ORIGIN) {
        return is_allowed(allowed, request);
    }
    let site = request.get(SITE);
    let is_own = site.is_none_or(|site| site == "same-origin" || site == "none");
    // a page has no other user's token, so with a token any host name is fine
    (is_own && (access.token_required || is_own_name(allowed, request))) || allowed.allow(None)
}

/// Whether a request's one `Origin` is allowed. Several are not.
fn is_allowed(allowed: &Origins, request: &HeaderMap) -> bool {
    let mut from = request.get_all(header::ORIGIN).into_iter();
    let only = from.next().filter(|_| from.next().is_none());
    only.and_then(|origin| origin.to_str().ok()).is_some_and(|origin| allowed.allow(Some(origin)))
}

/// Whether the request's `Host` is that of an allowed page. With DNS rebinding, a foreign page's
/// name leads to the broker and counts as its own origin.
fn is_own_name(allowed: &Origins, request: &HeaderMap) -> bool {
    let host = request.get(header::HOST);
    let name = host.and_then(|host| host.to_str().ok());
    is_this_machine(host) || name.is_some_and(|name| allowed.allow_host(name))
}

/// Whether the request's `Host` is a name that only ever means the local machine. Any other comes
/// through a proxy, for which every client is local, or from a rebound foreign name.
pub fn is_this_machine(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true }; // no browser
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Adds the CORS headers if the page may read the answer.
pub fn expose(origins: Option<&Origins>, request: &HeaderMap, response: &mut Response) {
    let headers = response.headers_mut();
    let Some(allowed) = origins else {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    };
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = request.get(header::ORIGIN)
        && is_allowed(allowed, request)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let credentials = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
    }
}

/// Answers a preflight.
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
        let access = Access { origins: Some(allowed.parse().unwrap()), ..Access::default() };
        let may = may_ask(&access, &request);
        let strict = Access { token_required: true, ..access };
        assert!(!may || may_ask(&strict, &request), "a token takes no leave away");
        may
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
        assert!(may_ask(&Access::default(), &HeaderMap::new()));
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_no_own_origin() {
        let host = |host| ("host", host);
        for own in ["localhost:8080", "127.0.0.1", "[::1]:8080", "a.example", "A.example"] {
            assert!(asks("https://a.example", &[host(own)]), "{own}");
        }
        for other in ["evil.example", "evil.example:8080", "a.example.evil", "a.example:81"] {
            assert!(!asks("a.example", &[host(other)]), "{other}");
            assert!(!asks("a.example", &[host(other), ("sec-fetch-site", "same-origin")]));
            assert!(asks("*", &[host(other)]), "{other}");
            let from = ("origin", "http://a.example");
            assert!(asks("a.example", &[host(other), from]), "who says where it is from");
        }
        let mut request = HeaderMap::new();
        request.insert("host", HeaderValue::from_static("evil.example"));
        let origins = Some("a.example".parse().unwrap());
        let access = Access { origins, token_required: true, ..Access::default() };
        assert!(may_ask(&access, &request), "it has no token");
        assert!(may_ask(&Access::default(), &request), "every page may");
    }

    #[test]
    fn only_loopback_is_this_machine() {
        let is = |host| is_this_machine(Some(&HeaderValue::from_static(host)));
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80"]
        {
            assert!(is(host), "{host}");
        }
        for host in ["", "example.io", "localhost.example.io:80", "10.0.0.1", "[::2]:80", "0.0.0.0"]
        {
            assert!(!is(host), "{host}");
        }
        assert!(is_this_machine(None));
    }
}
