//! Answers, and what keys open.

use metrics::counter;
use warp::Rejection;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::config::Secret;
use crate::methods::NotAllowed;
use crate::node::Stopped;
use crate::shard::Full;
use crate::telemetry::metrics::HTTP_REQUESTS;

/// Why a request wasn't followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the key is missing or wrong: send it as `Authorization: Bearer KEY`")]
    MissingKey,
    #[error("{0}")]
    Malformed(String),
    #[error("{0}: send `Authorization: Bearer KEY`, or in the query what a client connects with")]
    Unauthorized(String),
    #[error("this origin may not read here: see --allowed-origins")]
    Origin,
    #[error("the body is larger than {0} bytes: send less at once, or raise --max-body-size")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the broker is stopping")]
    Stopping,
    #[error(
        "without a key the dashboard is for this machine alone, under a name such as localhost: set an \
         --api-key to reach it under another"
    )]
    OtherHost,
    #[error("there are {0} dashboards open already, which is all there may be: close one")]
    Dashboards(usize),
    #[error("there is nothing here: {0}")]
    NotFound(&'static str),
    #[error("nobody is present there under this id")]
    Absent,
    #[error(transparent)]
    Full(#[from] Full),
    #[error("this path takes {}, not {}", .0.allowed, .0.method)]
    Method(NotAllowed),
    #[error("`users` is the list of all: write the presence id `users` as `%75sers`")]
    List,
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::MissingKey | Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Malformed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Stopping | Self::Dashboards(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Origin | Self::OtherHost => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::Absent => StatusCode::NOT_FOUND,
            Self::Full(_) => StatusCode::CONFLICT,
            Self::Method(_) | Self::List => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

impl From<NotAllowed> for Refusal {
    fn from(refused: NotAllowed) -> Self {
        Self::Method(refused)
    }
}

impl From<Stopped> for Refusal {
    fn from(_: Stopped) -> Self {
        Self::Stopping
    }
}

/// Answers a request and counts it.
pub(super) fn answer(endpoint: &'static str, result: Result<Response, Refusal>) -> Response {
    let response = result.unwrap_or_else(|refusal| {
        let reason = serde_json::json!({ "error": refusal.to_string() });
        let mut response = json(refusal.status(), reason.to_string());
        if refusal.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        let allowed = if let Refusal::Method(NotAllowed { allowed, .. }) = refusal {
            Some(allowed)
        } else {
            (refusal == Refusal::List).then_some("GET")
        };
        if let Some(allowed) = allowed {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    });
    let status = response.status().as_str().to_owned();
    counter!(HTTP_REQUESTS, "endpoint" => endpoint, "status" => status).increment(1);
    response
}

pub(super) fn json(status: StatusCode, body: impl Into<warp::hyper::body::Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Whether a request knows the key, if there is one to know.
pub(super) fn authorize(key: Option<&Secret>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(key) = key else { return Ok(()) };
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| {
        let (scheme, token) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    if given.is_some_and(|given| key.matches(given)) { Ok(()) } else { Err(Refusal::MissingKey) }
}

/// Answers what no route took.
pub async fn recover(rejection: Rejection) -> Result<Response, std::convert::Infallible> {
    let refusal = if let Some(refused) = rejection.find::<NotAllowed>() {
        refused.clone().into()
    } else if rejection.is_not_found() {
        Refusal::NotFound("see docs/HTTP.md for the paths")
    } else {
        Refusal::Malformed("the request can't be read".to_owned())
    };
    std::future::ready(Ok(answer("unknown", Err(refusal)))).await
}
