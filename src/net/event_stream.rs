//! Server-sent events: a request whose answer is a connection.
//!
//! What would be refused over a WebSocket is refused before anything is sent. After the answer's head
//! the socket is taken out of hyper, as after the handshake of a WebSocket, and is a connection as any
//! other: it has a place, a task, a session and an outbox.

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
use super::context::Context;
use super::handshake::{self, HandshakeParams, Refusal};
use super::http_io::HttpIo;
use crate::auth;
use crate::cors;
use crate::methods::only;
use crate::protocol::sse::Asked;
use crate::session::{Action, Session};
use crate::types::{Codec, Request, ServerMessage, StreamCommand, StreamName};

/// In which a client says what it has got before it lost its connection.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx to pass on what it gets when it gets it.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const METHODS: &str = "GET, OPTIONS";

/// The route that readers of events connect to.
pub fn route(context: Arc<Context>) -> BoxedFilter<(Response,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let asking = Arc::clone(&context);
    let preflight = only("OPTIONS", METHODS).and(warp::header::headers_cloned()).map(
        move |headers: HeaderMap| {
            cors::preflight(asking.access.origins.as_ref(), &headers, METHODS)
        },
    );
    only("GET", METHODS)
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::get::<HttpIo>())
        .map(move |headers: HeaderMap, query: String, Peer(peer), http: HttpIo| {
            let client = address::client(peer, &headers, &context.proxies);
            let mut response =
                begin(&context, client, (&headers, &query), &http).unwrap_or_else(|refusal| {
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
    client: IpAddr,
    (headers, query): (&HeaderMap, &str),
    http: &HttpIo,
) -> Result<Response, Refusal> {
    let last = headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes);
    let asked = Asked::read(query, last)?;
    let codec = Codec::Sse { raw: asked.raw };
    let params = HandshakeParams::read(codec, &context.token, headers, query)?;
    let params = HandshakeParams { called: asked.joins_as().cloned(), ..params };
    handshake::check_origin(context, headers)?;
    let opening = handshake::open(context, codec, client, query, params)?;
    let stream = match &opening.admitted {
        Ok(client) => may_follow(context, &asked, client)?,
        Err(refused) => return Err(Refusal::Unauthorized(*refused)),
    };
    tracing::debug!(%client, sid = %opening.sid, "a stream of events begins");
    let first = Some(asked.command(Some(&stream)));
    let opening = Opening { first, ..opening };
    let (taken, shared) = (http.take_socket(), Arc::clone(context));
    context.tasks.spawn(async move {
        if let Ok(socket) = taken.await {
            opening.run(&shared, socket, Vec::new(), Bytes::new());
        }
    });
    // all of the body comes after hyper, and ends with the connection
    let nothing = stream::pending::<io::Result<Bytes>>();
    let mut response = warp::reply::stream(nothing).into_response();
    *response.version_mut() = Version::HTTP_10; // of later ones hyper divides bodies into chunks
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-store, no-transform"),
        (header::CONNECTION, "close"), // what comes behind it would never be answered
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (BUFFERING, "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// The stream a client would follow, if it may, and may join if it wants to: once the answer has
/// begun, it is too late to refuse it.
fn may_follow(
    context: &Context,
    asked: &Asked,
    client: &auth::Client,
) -> Result<StreamName, Refusal> {
    let Context { settings, access, .. } = context;
    let mut session = Session::new(handshake::random_sid().ok_or(Refusal::NoRandomness)?, client);
    let request = Request::unnamed(Ok(asked.command(None)));
    match session.handle(request, &settings.limits, &access.streams) {
        Action::Forward {
            command: StreamCommand::Subscribe { join: Some(Err(reason)), .. },
            ..
        }
        | Action::Refuse { message: ServerMessage::Rejected(reason), .. } => {
            let Some(limit) = session.take_exceeded() else {
                return Err(Refusal::Rejected(reason));
            };
            context.instruments.limits.increment(limit);
            Err(Refusal::TooMuch(reason))
        }
        Action::Forward { stream, .. } => Ok(stream),
        Action::Refuse { .. } | Action::Answer { .. } | Action::Nothing(_) => {
            Err(Refusal::Rejected("nothing would come of it".into()))
        }
    }
}
