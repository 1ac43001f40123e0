//! The WebSocket handshake (RFC 6455 section 4.2): answered by warp, after which the bare
//! `TcpStream` is taken out of hyper.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::path::FullPath;
use warp::reply::Response;

use super::open::open;
use super::origin::Seen;
use super::params::read_params;
use super::refusal::{Refusal, note, refuse};
use crate::filters;
use crate::net::admission::Peer;
use crate::net::admission::address;
use crate::net::connections::Asked;
use crate::net::context::Context;
use crate::net::http_io::HttpIo;
use crate::protocol::query::parameter;
use crate::protocol::websocket::accept_key;
use crate::protocol::{HandshakeParams, Protocol};
use crate::types::Codec;

/// The WebSocket route of a protocol.
pub fn route(context: Arc<Context>, protocol: &'static Protocol) -> BoxedFilter<(Response,)> {
    filters::method("GET", "GET")
        .and(warp::header::headers_cloned())
        .and(warp::path::full())
        .and(filters::query())
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::get::<HttpIo>())
        .and(warp::ext::optional::<OnUpgrade>())
        .map(move |headers: HeaderMap, path: FullPath, query: String, Peer(peer), http, upgrade| {
            let (http, upgrade): (HttpIo, Option<OnUpgrade>) = (http, upgrade);
            let client = address::client(peer, &headers, &context.proxies);
            let by_proxy = context.proxies.contain(peer);
            let (path, query, headers) = (path.as_str(), &*query, &headers);
            let seen = Seen { client, by_proxy, path, query, headers, token: None };
            match accept(&context, protocol, seen, upgrade) {
                Ok(response) => {
                    http.defer_writes();
                    response
                }
                Err(refusal) => refuse(&refusal, note(&context, client, &refusal)),
            }
        })
        .boxed()
}

fn accept(
    context: &Arc<Context>,
    protocol: &Protocol,
    seen: Seen<'_>,
    upgrade: Option<OnUpgrade>,
) -> Result<Response, Refusal> {
    let Seen { client, headers, query, .. } = seen;
    let has = |name, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    };
    let upgrade = upgrade.ok_or(Refusal::NotWebSocket)?;
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(Refusal::NotWebSocket);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let accept = key.and_then(|key| accept_key(key.as_bytes())).ok_or(Refusal::Key)?;
    let accept = HeaderValue::try_from(accept).map_err(|_| Refusal::Key)?;
    let params = read_params(protocol, &context.token, headers, query)?;
    let origins = context.access.origins.as_ref();
    if origins.is_some_and(|allowed| !allowed.allow(origin(headers))) {
        return Err(Refusal::Origin);
    }
    let subprotocol = params.subprotocol;
    let asked = asked(context, protocol.codec, seen, &params)?;
    let opening = open(context, protocol.codec, client, query, params, asked)?;
    if let (true, Err(refused)) = (protocol.refuses_by_status, &opening.admitted) {
        return Err(Refusal::Forbidden(*refused));
    }
    tracing::debug!(%client, sid = %opening.sid, "handshake accepted");
    let (tasks, context) = (context.tasks.clone(), Arc::clone(context));
    tasks.spawn(async move {
        // a new task, so that the handshake's state is dropped
        if let Ok(upgraded) = upgrade.await {
            opening.start(&context, upgraded);
        }
    });

    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        let subprotocol = HeaderValue::from_static(subprotocol);
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Ok(response)
}

/// What the application has a say in; `None` if it has none.
fn asked(
    context: &Context,
    codec: Codec,
    seen: Seen<'_>,
    params: &HandshakeParams,
) -> Result<Option<Asked>, Refusal> {
    let Some(application) = context.application.as_ref().filter(|_| codec.has_channels()) else {
        return Ok(None);
    };
    let has_token = params.token.is_some() && context.access.tokens.is_some();
    let connects = application.connects && !has_token;
    if connects && params.resume.is_none() && !application.caller.has_room() {
        return Err(Refusal::Busy);
    }
    let in_query = parameter(seen.query, &context.token.parameter).is_some();
    let token = params.token.as_deref().filter(|_| !in_query);
    let origin = Arc::new(application.rules.origin(Seen { token, ..seen }));
    Ok(Some(Asked { origin, connects, resumes: params.resumes }))
}

/// The request's one `Origin`. Several count as none.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    let only = origins.next().filter(|_| origins.next().is_none());
    only.and_then(|origin| origin.to_str().ok())
}
