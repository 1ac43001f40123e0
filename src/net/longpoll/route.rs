//! The routes of long polling.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::pipe::{PollClient, Polled, pipe};
use super::posted;
use super::tokens::{Token, Tokens};
use crate::cors;
use crate::filters;
use crate::net::admission::{Peer, address};
use crate::net::context::{Context, random_sid};
use crate::net::handshake::{self, Refusal};
use crate::net::http_io::HttpIo;
use crate::protocol::Protocol;
use crate::protocol::query::parameter;
use crate::types::Transport;

/// Duration of a poll: half of the client's own timeout.
const WINDOW: Duration = Duration::from_secs(10);

/// Maximum time between two polls. Clients poll again at once, so this is for slow networks.
const POLL_TIMEOUT: Duration = Duration::from_secs(15);

const METHODS: &str = "GET, POST, OPTIONS";

/// Header in which newer clients send the token; older ones use a query parameter.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-phoenix-longpoll-token");
const TOKEN_PARAMETER: &str = "token";

/// What the routes need.
#[derive(Debug)]
struct Polls {
    context: Arc<Context>,
    protocol: &'static Protocol,
    tokens: Arc<Tokens<PollClient>>,
}

/// A response's body.
#[derive(Serialize)]
struct Answer {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The routes of long polling for a protocol.
pub fn route(context: Arc<Context>, protocol: &'static Protocol) -> BoxedFilter<(Response,)> {
    let polls = Arc::new(Polls { context, protocol, tokens: Arc::default() });
    let request = warp::header::headers_cloned().and(filters::query());
    let polling = Arc::clone(&polls);
    let get = filters::method("GET", METHODS)
        .and(request)
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::get::<HttpIo>())
        .then(move |headers: HeaderMap, query: String, Peer(peer), http: HttpIo| {
            let polls = Arc::clone(&polling);
            async move {
                let client = address::client(peer, &headers, &polls.context.proxies);
                let answer = polls.get(client, (&headers, &query), &http).await;
                polls.respond(client, &headers, answer)
            }
        });
    let posting = Arc::clone(&polls);
    let post = filters::method("POST", METHODS)
        .and(request)
        .and(warp::ext::get::<Peer>())
        .and(warp::body::stream())
        .then(move |headers: HeaderMap, query: String, Peer(peer), body| {
            let polls = Arc::clone(&posting);
            async move {
                let client = address::client(peer, &headers, &polls.context.proxies);
                let answer = polls.post((&headers, &query), body).await;
                polls.respond(client, &headers, answer)
            }
        });
    let preflight = filters::method("OPTIONS", METHODS).and(warp::header::headers_cloned()).map(
        move |headers: HeaderMap| {
            cors::preflight(polls.context.access.origins.as_ref(), &headers, METHODS)
        },
    );
    get.or(post).unify().or(preflight).unify().boxed()
}

impl Polls {
    async fn get(
        &self,
        client: IpAddr,
        (headers, query): (&HeaderMap, &str),
        http: &HttpIo,
    ) -> Result<Answer, Refusal> {
        handshake::check_origin(&self.context, headers)?;
        let token = token(headers, query);
        let Some((token, session)) = token.and_then(|it| Some((it, self.tokens.find(it)?))) else {
            let token = self.open(client, (headers, query))?;
            return Ok(Answer::new(410).with(token, Vec::new()));
        };
        let _watch = http.watch(); // when the client goes, nobody takes what would come
        let mut polling = session.poll();
        Ok(match tokio::time::timeout(WINDOW, polling.messages()).await {
            Ok(Polled::Messages(messages)) => Answer::new(200).with(token, messages),
            Ok(Polled::Ended) => Answer::new(410),
            Ok(Polled::Replaced) | Err(_) => Answer::new(204).with(token, Vec::new()),
        })
    }

    /// Opens a connection for a client that has none, or whose connection has ended.
    fn open(&self, client: IpAddr, (headers, query): (&HeaderMap, &str)) -> Result<Token, Refusal> {
        let Self { context, protocol, tokens } = self;
        let params = handshake::read_params(protocol, &context.token, headers, query)?;
        let codec = protocol.codec.over(Transport::LongPolling);
        let opening = handshake::open(context, codec, client, query, params, None)?;
        if let Err(refused) = opening.admitted {
            return Err(Refusal::Unauthorized(refused));
        }
        let token = random_sid().ok_or(Refusal::NoRandomness)?;
        tracing::debug!(%client, sid = %opening.sid, "long polling started");
        let (mut socket, session) = pipe(&context.clock, &context.absent, POLL_TIMEOUT);
        socket.enter(tokens.enter(token, session));
        opening.run(context, Box::new(socket), Vec::new(), Bytes::new());
        Ok(token)
    }

    async fn post<B: Buf>(
        &self,
        (headers, query): (&HeaderMap, &str),
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Answer, Refusal> {
        handshake::check_origin(&self.context, headers)?;
        let session = token(headers, query).and_then(|token| self.tokens.find(token));
        let Some(session) = session else { return Ok(Answer::new(410)) };
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_lines = kind.is_some_and(|kind| kind.starts_with(b"application/x-ndjson"));
        let max = self.context.settings.max_message;
        let passed_on = posted::pass_on(body, &session, is_lines, max);
        let status = match tokio::time::timeout(WINDOW, passed_on).await {
            Ok(Ok(())) => 200,
            Ok(Err(fault)) => fault.status(),
            Err(_) => StatusCode::REQUEST_TIMEOUT.as_u16(),
        };
        Ok(Answer::new(status))
    }

    fn respond(
        &self,
        client: IpAddr,
        request: &HeaderMap,
        answer: Result<Answer, Refusal>,
    ) -> Response {
        let (status, answer) = match answer {
            Ok(answer) => (StatusCode::OK, answer),
            Err(refusal) => {
                let status = handshake::note(&self.context, client, &refusal);
                // statuses that the client handles: unauthorized, and try again
                let is_final = matches!(status.as_u16(), 400..=403 | 426);
                let known = if is_final { 403 } else { 500 };
                let status = if is_final { StatusCode::OK } else { status };
                (status, Answer { error: Some(refusal.to_string()), ..Answer::new(known) })
            }
        };
        let body = serde_json::to_vec(&answer).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        cors::expose(self.context.access.origins.as_ref(), request, &mut response);
        response
    }
}

impl Answer {
    const fn new(status: u16) -> Self {
        Self { status, token: None, messages: None, error: None }
    }

    fn with(self, token: Token, messages: Vec<String>) -> Self {
        Self { token: Some(token.to_string()), messages: Some(messages), ..self }
    }
}

fn token(headers: &HeaderMap, query: &str) -> Option<Token> {
    match headers.get(TOKEN_HEADER) {
        Some(token) => Token::parse(token.to_str().ok()?),
        None => Token::parse(&parameter(query, TOKEN_PARAMETER)?),
    }
}
