//! The WebSocket handshake (RFC 6455 section 4.2): answered by warp, after which the bare
//! `TcpStream` is taken out of hyper.

use std::sync::Arc;

use headers::{HeaderMapExt, SecWebsocketAccept, SecWebsocketKey};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::{Connection, Context, Place};
use crate::fanout::Outbox;
use crate::protocol::action_cable::{Parameters, choose_subprotocol};
use crate::types::{Codec, HandshakeFailure, SessionId};

/// Why a handshake was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("this is a WebSocket endpoint: connect with a WebSocket client")]
    NotWebSocket,
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    Version,
    #[error("Sec-WebSocket-Key has to be 16 bytes in base64")]
    Key,
    #[error("{0}")]
    Subprotocol(String),
    #[error("the broker holds as many connections as it may: try another one, or later")]
    Full,
    #[error("the broker is stopping")]
    Stopping,
    #[error("the system gave no random numbers")]
    NoRandomness,
}

/// The route that WebSocket clients connect to.
pub fn route(context: Arc<Context>) -> BoxedFilter<(Response,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::get()
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::ext::optional::<OnUpgrade>())
        .map(move |headers: HeaderMap, query: String, upgrade: Option<OnUpgrade>| {
            match accept(&context, &headers, &query, upgrade) {
                Ok(response) => response,
                Err(refusal) => {
                    let (status, failure) = refusal.meaning();
                    context.instruments.handshake_failures.increment(failure);
                    refuse(&refusal, status)
                }
            }
        })
        .boxed()
}

fn accept(
    context: &Arc<Context>,
    headers: &HeaderMap,
    query: &str,
    upgrade: Option<OnUpgrade>,
) -> Result<Response, Refusal> {
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
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let key = key.and_then(|_| headers.typed_get::<SecWebsocketKey>()).ok_or(Refusal::Key)?;
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let subprotocol = choose_subprotocol(offered.filter_map(|value| value.to_str().ok()))
        .map_err(|error| Refusal::Subprotocol(error.to_string()))?;
    if context.is_stopping() {
        return Err(Refusal::Stopping);
    }
    let place = context.admit().ok_or(Refusal::Full)?;
    let sid = random_sid().ok_or(Refusal::NoRandomness)?;

    let ping = context.settings.ping.with_query(query);
    let (tasks, context) = (context.tasks.clone(), Arc::clone(context));
    tasks.spawn(async move {
        // spawned anew, so that what the handshake needed is let go
        if let Ok(upgraded) = upgrade.await {
            start(&context, place, upgraded, ping, sid);
        }
    });

    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.typed_insert(SecWebsocketAccept::from(key));
    if let Some(subprotocol) = subprotocol {
        let subprotocol = HeaderValue::from_static(subprotocol);
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Ok(response)
}

/// Takes the socket out of hyper and gives it a task of its own.
fn start(
    context: &Arc<Context>,
    place: Place,
    upgraded: Upgraded,
    ping: Parameters,
    sid: SessionId,
) {
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        tracing::error!("a connection is not the socket it was accepted as");
        return;
    };
    let socket = parts.io.into_inner();
    let timeout = context.settings.user_timeout;
    if !timeout.is_zero() {
        let tcp = socket2::SockRef::from(&socket);
        if let Err(error) = tcp.set_tcp_user_timeout(Some(timeout)) {
            tracing::debug!(%error, "TCP_USER_TIMEOUT is not to be had");
        }
    }
    let outbox = Outbox::new(Box::new(socket), Codec::ActionCable, context.settings.max_outbox);
    let connection =
        Connection::new(Arc::clone(context), place, Arc::clone(&outbox), sid, &parts.read_buf);
    context.heartbeat.add(&outbox, ping);
    drop(parts.read_buf); // even an empty one can hold on to hyper's buffer
    context.tasks.spawn(connection);
}

impl Refusal {
    const fn meaning(&self) -> (StatusCode, HandshakeFailure) {
        match self {
            Self::NotWebSocket => (StatusCode::UPGRADE_REQUIRED, HandshakeFailure::NotWebSocket),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, HandshakeFailure::Version),
            Self::Key => (StatusCode::BAD_REQUEST, HandshakeFailure::Key),
            Self::Subprotocol(_) => (StatusCode::BAD_REQUEST, HandshakeFailure::Subprotocol),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Full),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Stopping),
            Self::NoRandomness => (StatusCode::INTERNAL_SERVER_ERROR, HandshakeFailure::System),
        }
    }
}

fn refuse(refusal: &Refusal, status: StatusCode) -> Response {
    let mut response = Response::new(format!("{refusal}\n").into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// 16 bytes in base64 are 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')))
}

fn random_sid() -> Option<SessionId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(SessionId::from_bits(u128::from_ne_bytes(bytes)))
}
