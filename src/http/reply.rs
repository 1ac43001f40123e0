//! Responses, refusals and key checks of the HTTP endpoints.

use metrics::counter;
use warp::Rejection;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::config::Secret;
use crate::filters::MethodNotAllowed;
use crate::log::Void;
use crate::node::Unavailable;
use crate::telemetry::metrics::HTTP_REQUESTS;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the key is missing or wrong: send it as `Authorization: Bearer KEY`")]
    MissingKey,
    #[error("{0}")]
    Malformed(String),
    #[error("{0}: send `Authorization: Bearer KEY`, or a client's token in the query")]
    Unauthorized(String),
    #[error("this origin may not read here: see --allowed-origins")]
    Origin,
    #[error("the body is larger than {0} bytes: send less at once, or raise --max-body-size")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(
        "without a key the dashboard is for this machine alone, under a name such as localhost: set an \
         --api-key to reach it under another"
    )]
    OtherHost,
    #[error("there are {0} dashboards open already, the maximum: close one")]
    Dashboards(usize),
    #[error("not found: {0}")]
    NotFound(&'static str),
    #[error("no such member: nobody is present under this id")]
    Absent,
    #[error(transparent)]
    Void(#[from] Void),
    #[error(transparent)]
    Method(#[from] MethodNotAllowed),
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::MissingKey | Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Malformed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable(_) | Self::Dashboards(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Origin | Self::OtherHost => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::Absent => StatusCode::NOT_FOUND,
            Self::Void(_) => StatusCode::CONFLICT,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

/// The response to a request, counted.
pub(super) fn answer(endpoint: &'static str, result: Result<Response, Refusal>) -> Response {
    let response = result.unwrap_or_else(|refusal| {
        let reason = serde_json::json!({ "error": refusal.to_string() });
        let mut response = json(refusal.status(), reason.to_string());
        if refusal.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if refusal == Refusal::Unavailable(Unavailable::Late) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Refusal::Method(MethodNotAllowed { allowed, .. }) = refusal {
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

/// Checks a request's key, if one is required.
pub(super) fn authorize(key: Option<&Secret>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(key) = key else { return Ok(()) };
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| {
        let (scheme, token) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    if given.is_some_and(|given| key.matches(given)) { Ok(()) } else { Err(Refusal::MissingKey) }
}

/// The response to requests that no route matched.
pub async fn recover(rejection: Rejection) -> Result<Response, std::convert::Infallible> {
    let refusal = if let Some(refused) = rejection.find::<MethodNotAllowed>() {
        refused.clone().into()
    } else if rejection.is_not_found() {
        Refusal::NotFound("see docs/HTTP.md for the paths")
    } else {
        Refusal::Malformed("the request can't be read".to_owned())
    };
    std::future::ready(Ok(answer("unknown", Err(refusal)))).await
}
