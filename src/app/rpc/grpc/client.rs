//! One exchange: a call is sent as a stream, its answer read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use http::response::Parts;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, TE, USER_AGENT};
use hyper::{Method as HttpMethod, Request, StatusCode, Uri, Version};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::attempt::{Attempt, Fault, FaultKind};
use super::super::connect::{self, Connector};
use super::channel::Channel;
use super::messages::{self, Method};
use super::peer::Line;
use super::status::{self, Broken};
use crate::clock::Clock;
use crate::config::{ApplicationConfig, RpcServer, Secret};
use crate::types::{About, Call};

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("grpc-rust-broker/", env!("CARGO_PKG_VERSION")));
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const VERSION: HeaderValue = HeaderValue::from_static("v1");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const SID: HeaderName = HeaderName::from_static("sid");
const PROTOV: HeaderName = HeaderName::from_static("protov");
const COMMAND_ID: HeaderName = HeaderName::from_static("command-id");
const DISCONNECT_ID: HeaderName = HeaderName::from_static("disconnect-id");

/// How often a call is sent over another connection, since the server hasn't taken it.
const CONNECTIONS: usize = 8;

/// The application over gRPC.
#[derive(Debug)]
pub(in super::super) struct Grpc {
    channel: Arc<Channel>,
    /// Those of connects, commands and disconnects. The application is called by its first server.
    uris: [Uri; 3],
    authorization: Option<HeaderValue>,
    max_answer: usize,
    max_call: usize,
    clock: Arc<Clock>,
}

/// How a stream has ended.
enum Ended {
    Answer(Vec<u8>),
    TooLarge,
    Broken(Broken),
}

impl Grpc {
    /// Begins to connect. Fails if certificate authorities can't be read.
    pub(in super::super) fn new(
        servers: &[RpcServer],
        application: &ApplicationConfig,
        key: Option<&Secret>,
        clock: &Arc<Clock>,
        tasks: (TaskTracker, CancellationToken),
    ) -> io::Result<Self> {
        let connector = Connector::new(application.tls.as_ref(), b"h2")?;
        let authority = servers.first().map_or_else(String::new, ToString::to_string);
        let uri = |path| {
            let scheme = if application.tls.is_some() { "https" } else { "http" };
            let uri = Uri::builder().scheme(scheme).authority(authority.as_str());
            uri.path_and_query(path).build().map_err(io::Error::other)
        };
        let uris = [
            uri("/anycable.RPC/Connect")?,
            uri("/anycable.RPC/Command")?,
            uri("/anycable.RPC/Disconnect")?,
        ];
        Ok(Self {
            channel: Channel::start(servers.to_vec(), connector, tasks),
            uris,
            authorization: connect::bearer(key),
            max_answer: application.max_answer(),
            max_call: application.max_send.unwrap_or(usize::MAX),
            clock: Arc::clone(clock),
        })
    }

    /// Sends a call until a server has taken it, and reads the answer. Takes no longer than `timeout`.
    pub(in super::super) async fn exchange(&self, call: &Call, timeout: Duration) -> Attempt {
        let until = self.clock.now() + timeout;
        let method = messages::method(&call.about);
        let Some(message) = messages::write(call, self.max_call) else {
            let text = format!("the call is larger than {} bytes", self.max_call);
            return Err(Fault::not_run(FaultKind::CallTooLarge, text));
        };
        let unreachable =
            |why| Fault::not_run(FaultKind::Unreachable, format!("it can't be reached: {why}"));
        for _ in 0..CONNECTIONS {
            let left = || until.saturating_duration_since(self.clock.now());
            let line = match tokio::time::timeout(left(), self.channel.take()).await {
                Ok(Ok((line, _))) => line,
                Ok(Err(why)) => return Err(unreachable(why)),
                Err(_) => return Err(unreachable("the connection takes too long".to_owned())),
            };
            let request = self.request(call, method, left());
            let Ok(sent) = send(&line, request, message.clone()).await else {
                line.is_gone();
                continue;
            };
            match tokio::time::timeout(left(), self.answer(sent)).await {
                Ok(Ok(Ended::Answer(answer))) => {
                    return messages::read(method, &answer).map_err(|why| {
                        Fault::new(
                            FaultKind::Unreadable,
                            format!("its answer can't be used: {why}"),
                        )
                    });
                }
                Ok(Ok(Ended::TooLarge)) => {
                    let text = format!("its answer is larger than {} bytes", self.max_answer);
                    return Err(Fault::new(FaultKind::TooLarge, text));
                }
                Ok(Ok(Ended::Broken(Broken::NotTaken))) => line.is_gone(),
                Ok(Ok(Ended::Broken(Broken::Fault(fault))) | Err(fault)) => return Err(fault),
                Err(_) => return Err(Fault::late(timeout)),
            }
        }
        Err(unreachable("it ends each connection at once".to_owned()))
    }

    /// Waits for a stream's end.
    async fn answer(&self, sent: ResponseFuture) -> Result<Ended, Fault> {
        let broken = |error: h2::Error| Ok(Ended::Broken(status::of_stream(&error)));
        let response = match sent.await {
            Ok(response) => response,
            Err(error) => return broken(error),
        };
        let (head, mut body) = response.into_parts();
        check(&head)?;
        let mut answer = Vec::new();
        while let Some(data) = body.data().await {
            let data = match data {
                Ok(data) => data,
                Err(error) => return broken(error),
            };
            if answer.len() + data.len() > self.max_answer {
                return Ok(Ended::TooLarge);
            }
            answer.extend_from_slice(&data);
            drop(body.flow_control().release_capacity(data.len()));
        }
        match body.trailers().await {
            Ok(Some(trailers)) => match status::of_trailers(&trailers) {
                Some(fault) => Err(fault),
                None => Ok(Ended::Answer(answer)),
            },
            Ok(None) => {
                Err(Fault::new(FaultKind::Cut, "it ends the call without a status of gRPC"))
            }
            Err(error) => broken(error),
        }
    }

    fn request(&self, call: &Call, method: Method, timeout: Duration) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = HttpMethod::POST;
        let [connect, command, disconnect] = &self.uris;
        let uri = match method {
            Method::Connect => connect,
            Method::Command => command,
            Method::Disconnect => disconnect,
        };
        request.uri_mut().clone_from(uri);
        let headers = request.headers_mut();
        let mut text = |name: HeaderName, text: String| {
            if let Ok(mut value) = HeaderValue::try_from(text) {
                value.set_sensitive(true); // it won't come again, so it isn't worth a place in HPACK's table
                headers.insert(name, value);
            }
        };
        let sid = call.session.to_string();
        match &call.about {
            About::Connect => {}
            About::Command { .. } => text(COMMAND_ID, format!("{sid}/{}", call.number)),
            About::Disconnect(_) => text(DISCONNECT_ID, call.first.to_string()),
        }
        text(SID, sid);
        text(TIMEOUT, format!("{}m", timeout.as_millis().clamp(1, 99_999_999)));
        headers.insert(PROTOV, VERSION);
        headers.insert(TE, TRAILERS);
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(USER_AGENT, AGENT);
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// Opens a stream. An error is one of the connection, which takes no more.
async fn send(
    line: &Line,
    request: Request<()>,
    message: Bytes,
) -> Result<ResponseFuture, h2::Error> {
    let mut sender = line.sender.clone().ready().await?;
    let (response, mut stream) = sender.send_request(request, false)?;
    // if the stream is broken by now, the response says why
    drop(stream.send_data(message, true));
    Ok(response)
}

/// Refuses an answer that isn't gRPC, or that is nothing but a status.
fn check(head: &Parts) -> Result<(), Fault> {
    if head.status != StatusCode::OK {
        return Err(status::of_http(head.status.as_u16()));
    }
    if let Some(fault) = status::of_trailers(&head.headers) {
        return Err(fault);
    }
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind.starts_with(GRPC.as_bytes()) {
        Ok(())
    } else {
        Err(Fault::new(FaultKind::Unreadable, "its answer isn't gRPC"))
    }
}
