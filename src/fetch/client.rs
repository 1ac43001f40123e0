//! Requests to the application, by HTTP/1.1 over connections that are used again.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::{Settings, answer};
use crate::config::FetchUrl;
use crate::types::{Extra, FetchOutcome, PresenceId, StreamName};

/// What an answer may have beside what is said of each id: their names, and others.
const AROUND: usize = 64 * 1024;
const AROUND_EACH: usize = 1024;

/// What the broker calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("broker/", env!("CARGO_PKG_VERSION")));

/// Why the application wasn't told from, and in which way that counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) outcome: FetchOutcome,
    pub(super) reason: String,
}

pub(super) struct Client {
    url: FetchUrl,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    most: usize,
    /// Connections on which nothing is under way.
    idle: Mutex<Vec<SendRequest<String>>>,
    tasks: TaskTracker,
}

impl Client {
    pub(super) fn new(settings: Settings, tasks: TaskTracker) -> Self {
        let Settings { url, key, timeout, most } = settings;
        let authorization = key.as_ref().and_then(|key| {
            let key = key.each().next()?;
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self { url, authorization, timeout, most, idle: Mutex::default(), tasks }
    }

    pub(super) fn url(&self) -> &FetchUrl {
        &self.url
    }

    /// What the application says of some in a stream.
    pub(super) async fn ask(
        &self,
        stream: &StreamName,
        ids: &[PresenceId],
    ) -> Result<HashMap<PresenceId, Extra>, Failure> {
        let late = || Failure {
            outcome: FetchOutcome::Timeout,
            reason: format!(
                "it doesn't answer within {}",
                humantime::format_duration(self.timeout)
            ),
        };
        let asked = tokio::time::timeout(self.timeout, self.exchange(stream, ids));
        let body = asked.await.unwrap_or_else(|_| Err(late()))?;
        let invalid = |reason| Failure { outcome: FetchOutcome::Invalid, reason };
        answer::read(&body, ids, self.most).map_err(invalid)
    }

    async fn exchange(&self, stream: &StreamName, ids: &[PresenceId]) -> Result<Vec<u8>, Failure> {
        let failed = |reason| Failure { outcome: FetchOutcome::Failed, reason };
        let said = |error: hyper::Error| failed(format!("the request failed: {error}"));
        let ids_as_text: Vec<&str> = ids.iter().map(PresenceId::as_str).collect();
        let body = serde_json::json!({ "stream": stream.as_str(), "ids": ids_as_text }).to_string();
        let reused = match self.take_idle() {
            None => None,
            // the application may have closed it in this very moment
            Some(mut connection) => {
                let sent = connection.send_request(self.request(&body)).await;
                sent.ok().map(|response| (connection, response))
            }
        };
        let (connection, response) = if let Some(both) = reused {
            both
        } else {
            let mut connection = self.connect().await.map_err(failed)?;
            let response = connection.send_request(self.request(&body)).await.map_err(said)?;
            (connection, response)
        };
        let status = response.status();
        let most = AROUND + ids.len() * (self.most + AROUND_EACH);
        let answer = read_to_end(response, most).await.map_err(said)?;
        let Some(answer) = answer else {
            let reason = format!("its answer is larger than {most} bytes");
            return Err(Failure { outcome: FetchOutcome::Invalid, reason });
        };
        self.idle.lock().push(connection);
        if status.is_success() {
            Ok(answer)
        } else {
            Err(failed(format!("it answers with status {}", status.as_u16())))
        }
    }

    fn take_idle(&self) -> Option<SendRequest<String>> {
        let mut idle = self.idle.lock();
        idle.retain(SendRequest::is_ready);
        idle.pop()
    }

    async fn connect(&self) -> Result<SendRequest<String>, String> {
        let unreachable = |error: &dyn std::fmt::Display| format!("it can't be reached: {error}");
        let socket = TcpStream::connect((self.url.host(), self.url.port())).await;
        let socket = socket.map_err(|error| unreachable(&error))?;
        socket.set_nodelay(true).ok(); // slower without, and no worse
        let connected = http1::handshake(TokioIo::new(socket)).await;
        let (sender, connection) = connected.map_err(|error| unreachable(&error))?;
        // it ends with its sender, and who sends is told of its faults
        self.tasks.spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(&self, body: &str) -> Request<String> {
        let mut request = Request::new(body.to_owned());
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.url.path().clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.url.authority().clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// A response's body; `None` if it is larger than it may be.
async fn read_to_end(
    response: Response<Incoming>,
    most: usize,
) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut body = pin!(response.into_body());
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|task| body.as_mut().poll_frame(task)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}
