//! The WebSocket handshake (RFC 6455 section 4.2): answered by warp, after which the bare
//! `TcpStream` is taken out of hyper.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::opening::Opening;
use super::terms::Terms;
use super::{Context, Line, NoPlace, Peer, address};
use crate::auth;
use crate::cors;
use crate::methods::only;
use crate::protocol;
use crate::protocol::sse::BadQuery;
use crate::protocol::websocket::accept_key;
use crate::types::{Codec, HandshakeFailure, SessionId};

/// Why a handshake was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this is a WebSocket endpoint: connect with a WebSocket client")]
    NotWebSocket,
    #[error("only version 13 of the WebSocket protocol is spoken here")]
    Version,
    #[error("only version 2 of the Phoenix serializer is spoken here: connect with vsn=2.0.0")]
    Serializer,
    #[error("Sec-WebSocket-Key has to be 16 bytes in base64")]
    Key,
    #[error("{0}")]
    Subprotocol(String),
    #[error("this origin may not connect: see --allowed-origins")]
    Origin,
    #[error("the broker is full: try again later")]
    Full,
    #[error(
        "this address has as many connections as one may have: close some, or see \
         --max-connections-per-address"
    )]
    Address,
    #[error("too many clients connect at this moment: try again in a second")]
    Rate,
    #[error("the broker is stopping")]
    Stopping,
    #[error("{0}: connect with a good token")]
    Unauthorized(auth::Refused),
    /// As Phoenix answers it.
    #[error("{0}: connect with a good token")]
    Forbidden(auth::Refused),
    #[error("this may not be followed: {0}")]
    Rejected(Cow<'static, str>),
    #[error("{0}")]
    TooMuch(Cow<'static, str>),
    #[error(transparent)]
    Query(#[from] BadQuery),
    #[error("the system gave no random numbers")]
    NoRandomness,
}

/// The route that WebSocket clients of a protocol connect to.
pub fn route(context: Arc<Context>, codec: Codec) -> BoxedFilter<(Response,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    only("GET", "GET")
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::get::<Line>())
        .and(warp::ext::optional::<OnUpgrade>())
        .map(move |headers: HeaderMap, query: String, Peer(peer), line: Line, upgrade| {
            let client = address::client(peer, &headers, &context.proxies);
            match accept(&context, codec, client, (&headers, &query), upgrade) {
                Ok(response) => {
                    line.keep_back();
                    response
                }
                Err(refusal) => refuse(&refusal, note(&context, client, &refusal)),
            }
        })
        .boxed()
}

fn accept(
    context: &Arc<Context>,
    codec: Codec,
    client: IpAddr,
    (headers, query): (&HeaderMap, &str),
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
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let accept = key.and_then(|key| accept_key(key.as_bytes())).ok_or(Refusal::Key)?;
    let accept = HeaderValue::try_from(accept).map_err(|_| Refusal::Key)?;
    let terms = Terms::read(codec, &context.token, headers, query)?;
    let origins = context.access.origins.as_ref();
    if origins.is_some_and(|allowed| !allowed.allow(origin(headers))) {
        return Err(Refusal::Origin);
    }
    let subprotocol = terms.subprotocol;
    let opening = open(context, codec, client, query, terms)?;
    if let (Codec::Phoenix, Err(refused)) = (codec, &opening.admitted) {
        // its client loses its patience with each handshake that succeeds, and comes back at once
        return Err(Refusal::Forbidden(*refused));
    }
    tracing::debug!(%client, sid = %opening.sid, "a handshake is followed");
    let (tasks, context) = (context.tasks.clone(), Arc::clone(context));
    tasks.spawn(async move {
        // spawned anew, so that what the handshake needed is let go
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

/// Counts a refusal and says what it means to a client.
pub(super) fn note(context: &Context, client: IpAddr, refusal: &Refusal) -> StatusCode {
    let (status, failure) = refusal.meaning();
    context.instruments.handshake_failures.increment(failure);
    tracing::debug!(%client, reason = %refusal, "a handshake is refused");
    status
}

/// Lets a client in, if there is room: who it is shows in what becomes of its connection. Whether its
/// page may connect has been looked at.
pub(super) fn open(
    context: &Context,
    codec: Codec,
    client: IpAddr,
    query: &str,
    terms: Terms<'_>,
) -> Result<Opening, Refusal> {
    if context.is_stopping() {
        return Err(Refusal::Stopping);
    }
    let place = context.admit(client)?;
    let sid = random_sid().ok_or(Refusal::NoRandomness)?;
    let now = context.clock.unix().as_secs();
    let admitted = context.access.admit(terms.token.as_deref(), now);
    let is_public = context.access.streams.public;
    Ok(Opening {
        codec,
        place,
        sid,
        admitted: admitted.map(|client| client.called(terms.called)),
        resume: terms.resume,
        repeat: terms.repeat,
        ping: context.settings.ping.with_query(query),
        first: is_public.then(|| protocol::decode_connecting(codec)).flatten(),
    })
}

/// Whether the page that asks by a plain request may, if one asks.
pub(super) fn check_origin(context: &Context, headers: &HeaderMap) -> Result<(), Refusal> {
    if cors::may_ask(&context.access, headers) { Ok(()) } else { Err(Refusal::Origin) }
}

/// Where the page comes from, if a page asks. Two answers are none.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    let only = origins.next().filter(|_| origins.next().is_none());
    only.and_then(|origin| origin.to_str().ok())
}

impl From<NoPlace> for Refusal {
    fn from(reason: NoPlace) -> Self {
        match reason {
            NoPlace::Full => Self::Full,
            NoPlace::Address => Self::Address,
            NoPlace::Rate => Self::Rate,
        }
    }
}

impl Refusal {
    pub(super) const fn meaning(&self) -> (StatusCode, HandshakeFailure) {
        match self {
            Self::NotWebSocket => (StatusCode::UPGRADE_REQUIRED, HandshakeFailure::NotWebSocket),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, HandshakeFailure::Version),
            Self::Key => (StatusCode::BAD_REQUEST, HandshakeFailure::Key),
            Self::Subprotocol(_) | Self::Serializer => {
                (StatusCode::BAD_REQUEST, HandshakeFailure::Subprotocol)
            }
            Self::Origin => (StatusCode::FORBIDDEN, HandshakeFailure::Origin),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Full),
            Self::Address => (StatusCode::TOO_MANY_REQUESTS, HandshakeFailure::Address),
            Self::Rate => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Rate),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Stopping),
            Self::Unauthorized(_) | Self::Rejected(_) => {
                (StatusCode::UNAUTHORIZED, HandshakeFailure::Unauthorized)
            }
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, HandshakeFailure::Unauthorized),
            Self::TooMuch(_) | Self::Query(_) => {
                (StatusCode::BAD_REQUEST, HandshakeFailure::Malformed)
            }
            Self::NoRandomness => (StatusCode::INTERNAL_SERVER_ERROR, HandshakeFailure::System),
        }
    }
}

pub(super) fn refuse(refusal: &Refusal, status: StatusCode) -> Response {
    let mut response = Response::new(format!("{refusal}\n").into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if *refusal == Refusal::Rate {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

pub(super) fn random_sid() -> Option<SessionId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(SessionId::from_bits(u128::from_ne_bytes(bytes)))
}
