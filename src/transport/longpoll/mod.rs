//! Phoenix's long polling, for networks that let no WebSocket through (the client's
//! `assets/js/phoenix/longpoll.js`, the server's `lib/phoenix/transports/long_poll.ex`).
//!
//! ```text
//! GET without a token        → 410 and a token: there is a connection now
//! GET  ?token=…              → 200 and messages, as soon as there are any; 204 if there are none
//! POST ?token=…              → 200: what the client says, a message a line
//! either with a token of old → 410
//! ```
//!
//! These are the statuses in the answer's body, by which the client goes. HTTP's is 200, unless the
//! broker has no room.
//!
//! The connection is one as over a WebSocket, with all that belongs to it, but over a [`Pipe`](pipe::Pipe).

mod absent;
mod frames;
mod pipe;
mod posted;
mod tokens;

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

use super::handshake::{self, Refusal};
use super::terms::Terms;
use super::{Context, Line, Peer, address};
use crate::cors;
use crate::methods::only;
use crate::protocol::query::parameter;
use crate::types::Codec;

pub(super) use absent::Absent;
use pipe::{Polled, pipe};
use tokens::{Token, Tokens};

/// How long a poll waits: half of what the client waits for its answer.
const WINDOW: Duration = Duration::from_secs(10);

/// How long a client may take to poll again. It does at once; so this is what a bad network may take.
const PATIENCE: Duration = Duration::from_secs(15);

const METHODS: &str = "GET, POST, OPTIONS";

/// Where newer clients send the token; older ones have a parameter.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-phoenix-longpoll-token");
const TOKEN_PARAMETER: &str = "token";

/// What clients that poll are served with.
#[derive(Debug)]
struct Polls {
    context: Arc<Context>,
    tokens: Arc<Tokens>,
}

/// An answer's body.
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

/// The route that clients poll.
pub fn route(context: Arc<Context>) -> BoxedFilter<(Response,)> {
    let polls = Arc::new(Polls { context, tokens: Arc::default() });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let request = warp::header::headers_cloned().and(query);
    let polling = Arc::clone(&polls);
    let get = only("GET", METHODS)
        .and(request)
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::get::<Line>())
        .then(move |headers: HeaderMap, query: String, Peer(peer), line: Line| {
            let polls = Arc::clone(&polling);
            async move {
                let client = address::client(peer, &headers, &polls.context.proxies);
                let answer = polls.get(client, (&headers, &query), &line).await;
                polls.respond(client, &headers, answer)
            }
        });
    let posting = Arc::clone(&polls);
    let post = only("POST", METHODS)
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
    let preflight = only("OPTIONS", METHODS).and(warp::header::headers_cloned()).map(
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
        line: &Line,
    ) -> Result<Answer, Refusal> {
        handshake::check_origin(&self.context, headers)?;
        let token = token(headers, query);
        let Some((token, far)) = token.and_then(|it| Some((it, self.tokens.find(it)?))) else {
            let token = self.open(client, (headers, query))?;
            return Ok(Answer::new(410).with(token, Vec::new()));
        };
        let _watch = line.watch(); // when the client goes, nobody takes what would come
        let mut polling = far.poll();
        Ok(match tokio::time::timeout(WINDOW, polling.messages()).await {
            Ok(Polled::Messages(messages)) => Answer::new(200).with(token, messages),
            Ok(Polled::Ended) => Answer::new(410),
            Ok(Polled::Replaced) | Err(_) => Answer::new(204).with(token, Vec::new()),
        })
    }

    /// Opens a connection for a client that has none, or none any more.
    fn open(&self, client: IpAddr, (headers, query): (&HeaderMap, &str)) -> Result<Token, Refusal> {
        let Self { context, tokens } = self;
        let terms = Terms::read(Codec::Phoenix, &context.token, headers, query)?;
        let opening = handshake::open(context, Codec::Phoenix, client, query, terms)?;
        if let Err(refused) = opening.admitted {
            return Err(Refusal::Unauthorized(refused));
        }
        let token = handshake::random_sid().ok_or(Refusal::NoRandomness)?;
        tracing::debug!(%client, sid = %opening.sid, "a client polls");
        let (mut pipe, far) = pipe(&context.clock, &context.absent, PATIENCE);
        pipe.enter(tokens.enter(token, far));
        opening.run(context, Box::new(pipe), Vec::new(), Bytes::new());
        Ok(token)
    }

    async fn post<B: Buf>(
        &self,
        (headers, query): (&HeaderMap, &str),
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Answer, Refusal> {
        handshake::check_origin(&self.context, headers)?;
        let far = token(headers, query).and_then(|token| self.tokens.find(token));
        let Some(far) = far else { return Ok(Answer::new(410)) };
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_lines = kind.is_some_and(|kind| kind.starts_with(b"application/x-ndjson"));
        let most = self.context.settings.max_message;
        let passed_on = posted::pass_on(body, &far, is_lines, most);
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
                // the client knows these two: it is not wanted, or it is to try again
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
