//! Server-sent events: a connection whose frames are the body of an HTTP response.
//!
//! Refusals are responses, as with a WebSocket's handshake. After the response's head, the socket
//! is taken out of hyper and becomes a connection like any other, with a permit, a task, a session
//! and an outbox.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use warp::reply::{Reply, Response};

use super::admission::{Peer, address};
use super::connections::Opening;
use super::context::{Context, random_sid};
use super::handshake::{self, Refusal};
use super::http_io::HttpIo;
use crate::auth;
use crate::cors;
use crate::filters;
use crate::protocol::sse::Asked;
use crate::protocol::{HandshakeParams, Protocol};
use crate::session::{Action, Session};
use crate::types::{Request, ServerMessage, StreamCommand, StreamName};

/// Header in which a reconnecting client sends the id of the last event it received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Header that turns off nginx's buffering.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const METHODS: &str = "GET, OPTIONS";

/// The route of event streams.
pub fn route(context: Arc<Context>, protocol: &'static Protocol) -> BoxedFilter<(Response,)> {
    let asking = Arc::clone(&context);
    let preflight = filters::method("OPTIONS", METHODS).and(warp::header::headers_cloned()).map(
        move |headers: HeaderMap| {
            cors::preflight(asking.access.origins.as_ref(), &headers, METHODS)
        },
    );
    filters::method("GET", METHODS)
        .and(warp::header::headers_cloned())
        .and(filters::query())
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::get::<HttpIo>())
        .map(move |headers: HeaderMap, query: String, Peer(peer), http: HttpIo| {
            let client = address::client(peer, &headers, &context.proxies);
            let mut response = begin(&context, protocol, client, (&headers, &query), &http)
                .unwrap_or_else(|refusal| {
                    let status = handshake::note(&context, client, &refusal);
                    handshake::refuse(&refusal, status)
                });
            cors::expose(context.access.origins.as_ref(), &headers, &mut response);
            response
        })
        .or(preflight)
        .unify()
        .boxed()
}

fn begin(
    context: &Arc<Context>,
    protocol: &Protocol,
    client: IpAddr,
    (headers, query): (&HeaderMap, &str),
    http: &HttpIo,
) -> Result<Response, Refusal> {
    let last = headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes);
    let asked = Asked::read(query, last)?;
    let params = handshake::read_params(protocol, &context.token, headers, query)?;
    let params = HandshakeParams { presence_id: asked.presence_id().cloned(), ..params };
    handshake::check_origin(context, headers)?;
    let opening = handshake::open(context, asked.codec, client, query, params, None)?;
    let stream = match &opening.admitted {
        Ok(client) => may_follow(context, &asked, client)?,
        Err(refused) => return Err(Refusal::Unauthorized(*refused)),
    };
    tracing::debug!(%client, sid = %opening.sid, "event stream started");
    let first = Some(asked.command(Some(&stream)));
    let opening = Opening { first, ..opening };
    let (taken, shared) = (http.take_socket(), Arc::clone(context));
    context.tasks.spawn(async move {
        if let Ok(socket) = taken.await {
            opening.run(&shared, socket, Vec::new(), Bytes::new());
        }
    });
    // the body follows after hyper is gone, and ends with the connection
    let nothing = stream::pending::<io::Result<Bytes>>();
    let mut response = warp::reply::stream(nothing).into_response();
    *response.version_mut() = Version::HTTP_10; // with later versions hyper would send chunks
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-store, no-transform"),
        (header::CONNECTION, "close"), // a later request would never be answered
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (BUFFERING, "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// The stream to subscribe to, if the client may, and may join if it asks to: after the response's
/// head it is too late for a refusal.
fn may_follow(
    context: &Context,
    asked: &Asked,
    client: &auth::Client,
) -> Result<StreamName, Refusal> {
    let Context { settings, access, .. } = context;
    let mut session = Session::new(random_sid().ok_or(Refusal::NoRandomness)?, client);
    let request = Request::unnamed(Ok(asked.command(None)));
    let reason = match session.handle(request, &settings.limits, &access.streams) {
        Action::Refuse { message: ServerMessage::Rejected(reason), .. } => reason,
        Action::Forward { stream, command: StreamCommand::Subscribe(subscribe), .. } => {
            let Some(Err(reason)) = subscribe.join else { return Ok(stream) };
            reason
        }
        Action::Forward { stream, .. } => return Ok(stream),
        Action::Refuse { .. }
        | Action::Answer { .. }
        | Action::Ask { .. }
        | Action::Follow(_)
        | Action::Wait
        | Action::Nothing(_) => {
            return Err(Refusal::Rejected("the stream would have no events".into()));
        }
    };
    let Some(limit) = session.take_exceeded() else { return Err(Refusal::Rejected(reason)) };
    context.instruments.limits.increment(limit);
    Err(Refusal::TooMuch(reason))
}
