//! `GET /`, `/health` and `/metrics`.

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::reply::{answer, authorize, json};
use crate::config::{Protocols, Secret};
use crate::filters;
use crate::telemetry::NodeState;

/// `/health`: 200 while the broker serves, 503 otherwise. `/live`: 200 as long as the process turns.
pub fn health(read: impl Fn() -> NodeState + Send + Sync + 'static) -> BoxedFilter<(Response,)> {
    let read = Arc::new(read);
    let health = warp::path!("health").and(filters::readable()).map(move || {
        let unavailable = |body| json(StatusCode::SERVICE_UNAVAILABLE, body);
        let response = match read() {
            NodeState::CatchingUp => unavailable(r#"{"status":"catching_up"}"#),
            NodeState::Current => json(StatusCode::OK, r#"{"status":"ok"}"#),
            NodeState::Behind => unavailable(r#"{"status":"behind"}"#),
            NodeState::Outdated => unavailable(r#"{"status":"outdated"}"#),
            NodeState::Stopping => unavailable(r#"{"status":"stopping"}"#),
        };
        answer("health", Ok(response))
    });
    let live = warp::path!("live").and(filters::readable());
    let live = live.map(|| answer("live", Ok(json(StatusCode::OK, r#"{"status":"ok"}"#))));
    health.or(live).unify().boxed()
}

/// The metrics for Prometheus, if the request has the key.
pub fn metrics(
    scrape: impl Fn() -> String + Send + Sync + 'static,
    key: Option<Secret>,
) -> BoxedFilter<(Response,)> {
    let scrape = Arc::new(scrape);
    warp::path!("metrics")
        .and(filters::method("GET", "GET"))
        .and(warp::header::headers_cloned())
        .map(move |headers: HeaderMap| {
            let result = authorize(key.as_ref(), &headers).map(|()| {
                let mut response = Response::new(scrape().into());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            });
            answer("metrics", result)
        })
        .boxed()
}

/// A note for people who open the address in a browser; WebSocket handshakes pass to later routes.
pub fn about(protocols: &Protocols) -> BoxedFilter<(Response,)> {
    let spoken = protocols.spoken();
    let connect = spoken.map(|(protocol, path)| format!("{} at {path}", protocol.name));
    // paths have no characters that JSON escapes
    let body = format!(
        r#"{{"message":"broker {} is running","hint":"connect by {}"}}"#,
        env!("CARGO_PKG_VERSION"),
        connect.collect::<Vec<_>>().join(", "),
    );
    // other `Upgrade` offers may be ignored: curl offers HTTP/2
    let is_socket = |headers: &HeaderMap| {
        let offers = headers.get_all(header::UPGRADE).into_iter().filter_map(|it| it.to_str().ok());
        let mut offers = offers.flat_map(|list| list.split(','));
        offers.any(|offer| offer.trim().eq_ignore_ascii_case("websocket"))
    };
    let is_request = warp::header::headers_cloned().and_then(move |headers: HeaderMap| {
        let result = if is_socket(&headers) { Err(warp::reject()) } else { Ok(()) };
        std::future::ready(result)
    });
    warp::path::end()
        .and(filters::readable())
        .and(is_request.untuple_one())
        .map(move || answer("about", Ok(json(StatusCode::OK, body.clone()))))
        .boxed()
}
