//! One exchange: a call is written, its answer read.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::attempt::{Attempt, Fault, FaultKind, MAX_TEXT};
use super::super::connect::{self, Connector};
use super::super::json;
use super::pool::{Pool, Sender};
use crate::clock::Clock;
use crate::config::{AppUrl, ApplicationConfig, Secret};
use crate::types::{About, Call};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("broker/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const VERSION: HeaderValue = HeaderValue::from_static("v1");
const SID: HeaderName = HeaderName::from_static("x-anycable-meta-sid");
const PROTOV: HeaderName = HeaderName::from_static("x-anycable-meta-protov");
const COMMAND_ID: HeaderName = HeaderName::from_static("x-anycable-meta-command-id");
const DISCONNECT_ID: HeaderName = HeaderName::from_static("x-anycable-meta-disconnect-id");

/// Maximum size of an answer that is only read to use the connection again.
const MAX_REST: usize = 64 * 1024;

/// Pause before a call that was refused is repeated, where the application's isn't readable.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a call is sent over another connection, since the one it was sent over had ended before.
const CONNECTIONS: usize = 8;

/// The application over HTTP.
#[derive(Debug)]
pub(in super::super) struct Http {
    pool: Pool,
    host: HeaderValue,
    /// Paths of connects, commands and disconnects.
    paths: [Uri; 3],
    authorization: Option<HeaderValue>,
    max_answer: usize,
    clock: Arc<Clock>,
}

impl Http {
    /// Fails if certificate authorities can't be read.
    pub(in super::super) fn new(
        url: &AppUrl,
        application: &ApplicationConfig,
        key: Option<&Secret>,
        clock: &Arc<Clock>,
        tasks: (TaskTracker, CancellationToken),
    ) -> io::Result<Self> {
        let uri = url.uri();
        let authority = uri.authority().ok_or_else(|| io::Error::other("the URL has no host"))?;
        let port = authority.port_u16().unwrap_or(if url.is_https() { 443 } else { 80 });
        let name = authority.host().trim_matches(['[', ']']).to_owned();
        let path = |name: &str| {
            let base = uri.path().trim_end_matches('/');
            format!("{base}/{name}").parse().map_err(io::Error::other)
        };
        let connector = Connector::new(application.tls.as_ref(), b"http/1.1")?;
        Ok(Self {
            pool: Pool::new(connector, (name, port), clock, tasks),
            host: HeaderValue::try_from(authority.as_str()).map_err(io::Error::other)?,
            paths: [path("connect")?, path("command")?, path("disconnect")?],
            authorization: connect::bearer(key),
            max_answer: application.max_answer(),
            clock: Arc::clone(clock),
        })
    }

    /// Sends a call, at most once, and reads its answer. Takes no longer than `timeout`.
    pub(in super::super) async fn exchange(&self, call: &Call, timeout: Duration) -> Attempt {
        let until = self.clock.now() + timeout;
        let mut request = self.request(call);
        for _ in 0..CONNECTIONS {
            let left = || until.saturating_duration_since(self.clock.now());
            let mut sender = match tokio::time::timeout(left(), self.pool.take()).await {
                Ok(Ok(sender)) => sender,
                Ok(Err(error)) => {
                    let text = format!("it can't be reached: {error}");
                    return Err(Fault::not_run(FaultKind::Unreachable, text));
                }
                Err(_) => {
                    let text = "it can't be reached: the connection takes too long";
                    return Err(Fault::not_run(FaultKind::Unreachable, text));
                }
            };
            let sent = async {
                let response = sender.try_send_request(request).await;
                response.map(|response| async { self.answer(response, sender).await })
            };
            let answered = async {
                match sent.await {
                    Ok(answer) => Ok(answer.await),
                    Err(error) => Err(error),
                }
            };
            match tokio::time::timeout(left(), answered).await {
                Ok(Ok(attempt)) => return attempt,
                Ok(Err(mut error)) => match error.take_message() {
                    // the connection had ended before the call was written
                    Some(unsent) => request = unsent,
                    None => return Err(cut(&error.into_error())),
                },
                Err(_) => return Err(Fault::late(timeout)),
            }
        }
        let text = "it can't be reached: it closes each connection at once";
        Err(Fault::not_run(FaultKind::Unreachable, text))
    }

    async fn answer(&self, response: Response<Incoming>, sender: Sender) -> Attempt {
        let (head, body) = response.into_parts();
        let is_good = head.status == StatusCode::OK;
        let max = if is_good { self.max_answer } else { MAX_REST };
        let body = read_to_end(body, max).await.map_err(|error| cut(&error))?;
        if body.is_some() {
            self.pool.keep(sender, &head.headers);
        }
        if !is_good {
            let location = head.headers.get("location").and_then(|it| it.to_str().ok());
            let mut fault = refusal(head.status, location, head.headers.get(RETRY_AFTER));
            if fault.kind == FaultKind::Misread
                && let Some(why) = body.as_deref().map(String::from_utf8_lossy)
                && !why.trim().is_empty()
            {
                let start: String = why.trim().chars().take(MAX_TEXT).collect();
                fault.text = format!("{}: {}", fault.text, start.escape_debug());
            }
            return Err(fault);
        }
        let Some(body) = body else {
            let text = format!("its answer is larger than {max} bytes");
            return Err(Fault::new(FaultKind::TooLarge, text));
        };
        json::read(&body).map_err(|why| {
            Fault::new(FaultKind::Unreadable, format!("its answer can't be used: {why}"))
        })
    }

    fn request(&self, call: &Call) -> Request<String> {
        let [connect, command, disconnect] = &self.paths;
        let mut request = Request::new(json::write(call));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers.insert(PROTOV, VERSION);
        let text = |text: String| HeaderValue::try_from(text).ok(); // hexadecimal
        let sid = call.session.to_string();
        let path = match &call.about {
            About::Connect => connect,
            About::Command { .. } => {
                if let Some(id) = text(format!("{sid}/{}", call.number)) {
                    headers.insert(COMMAND_ID, id);
                }
                command
            }
            About::Disconnect(_) => {
                if let Some(id) = text(call.first.to_string()) {
                    headers.insert(DISCONNECT_ID, id);
                }
                disconnect
            }
        };
        if let Some(sid) = text(sid) {
            headers.insert(SID, sid);
        }
        *request.uri_mut() = path.clone();
        request
    }
}

fn cut(error: &hyper::Error) -> Fault {
    let mut text = format!("it ends the connection before its answer: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Fault::new(FaultKind::Cut, text)
}

/// What a status other than 200 says.
fn refusal(status: StatusCode, location: Option<&str>, retry_after: Option<&HeaderValue>) -> Fault {
    let retry_after = retry_after.map(|value| {
        let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        seconds.map_or(PAUSE, Duration::from_secs)
    });
    let text = format!("it answers with status {}", status.as_u16());
    let kind = match status.as_u16() {
        401 | 403 => FaultKind::Unauthorized,
        404 | 405 => FaultKind::Missing,
        400 | 422 => FaultKind::Misread,
        429 | 503 => FaultKind::Busy,
        300..=399 => {
            let to = location.map_or(String::new(), |to| format!(", to {}", to.escape_debug()));
            return Fault::new(FaultKind::Redirected, format!("{text}{to}"));
        }
        502 | 504 => FaultKind::Cut, // of a proxy before it
        _ => FaultKind::Failed,
    };
    // a 503 may come from behind the call, unless it says that the call is to be repeated
    let has_not_run = status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some());
    Fault { kind, has_not_run, retry_after, text }
}

/// Reads a body; `None` if it exceeds `max` bytes.
async fn read_to_end(body: Incoming, max: usize) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|task| body.as_mut().poll_frame(task)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}
