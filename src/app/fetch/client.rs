//! HTTP client for the application: HTTP/1.1 with connection reuse, and TLS for `https` URLs.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::answer;
use crate::config::{AppUrl, Secret};
use crate::types::{Extra, FetchOutcome, PresenceId, StreamName};

/// Bytes that a response may have besides the data, such as other ids.
const AROUND: usize = 64 * 1024;

/// The same, more for each requested id.
const AROUND_EACH: usize = 1024;

/// Time after which an idle connection is closed; shorter than servers' timeouts.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The `User-Agent`.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("broker/", env!("CARGO_PKG_VERSION")));

/// Settings of requests to the application.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Endpoint of the application.
    pub url: AppUrl,
    /// Bearer token that authenticates the broker.
    pub key: Option<Secret>,
    /// Maximum time for which a join waits.
    pub timeout: Duration,
    /// Maximum size of one member's data, in bytes.
    pub max_size: usize,
}

/// Why a request failed, and the outcome it counts as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) outcome: FetchOutcome,
    pub(super) reason: String,
}

pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, String>,
    url: AppUrl,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    max_size: usize,
}

impl Client {
    /// Fails if the system's certificate authorities can't be read, which `https` needs.
    pub(super) fn new(settings: Settings) -> io::Result<Self> {
        let Settings { url, key, timeout, max_size } = settings;
        let authorization = key.as_ref().and_then(|key| {
            let key = key.each().next()?;
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector(&url)?);
        Ok(Self { http, url, authorization, timeout, max_size })
    }

    pub(super) fn url(&self) -> &AppUrl {
        &self.url
    }

    /// Requests the application's data about members of a stream.
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
        answer::read(&body, ids, self.max_size).map_err(invalid)
    }

    async fn exchange(&self, stream: &StreamName, ids: &[PresenceId]) -> Result<Vec<u8>, Failure> {
        let failed = |reason| Failure { outcome: FetchOutcome::Failed, reason };
        let ids_as_text: Vec<&str> = ids.iter().map(PresenceId::as_str).collect();
        let body = serde_json::json!({ "stream": stream.as_str(), "ids": ids_as_text }).to_string();
        let response = self.http.request(self.request(body)).await;
        let response = response.map_err(|error| failed(explain(&error)))?;
        let status = response.status();
        let max = AROUND + ids.len() * (self.max_size + AROUND_EACH);
        let answer = read_to_end(response, max).await;
        let answer = answer.map_err(|error| failed(format!("the request failed: {error}")))?;
        let Some(answer) = answer else {
            let reason = format!("its answer is larger than {max} bytes");
            return Err(Failure { outcome: FetchOutcome::Invalid, reason });
        };
        if status.is_success() {
            Ok(answer)
        } else {
            Err(failed(format!("it answers with status {}", status.as_u16())))
        }
    }

    fn request(&self, body: String) -> Request<String> {
        let mut request = Request::new(body);
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.url.uri().clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// A connector that uses TLS for `https` URLs. It trusts the system's certificate authorities, or those
/// in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn connector(url: &AppUrl) -> io::Result<HttpsConnector<HttpConnector>> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false); // also carries TLS
    let provider = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if url.is_https() {
        builder.with_provider_and_native_roots(provider)?
    } else {
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder.with_tls_config(tls)
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

/// An error with its causes, which hyper-util's own text omits.
fn explain(error: &legacy::Error) -> String {
    let what = if error.is_connect() { "it can't be reached" } else { "the request failed" };
    let mut text = what.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Reads a response's body; `None` if it exceeds `max_size` bytes.
async fn read_to_end(
    response: Response<Incoming>,
    max_size: usize,
) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut body = pin!(response.into_body());
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|task| body.as_mut().poll_frame(task)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > max_size {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}
