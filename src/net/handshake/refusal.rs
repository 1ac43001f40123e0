//! Refused handshakes and their responses.

use std::borrow::Cow;
use std::net::IpAddr;

use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

use crate::auth;
use crate::net::admission::AdmissionError;
use crate::net::context::Context;
use crate::protocol::BadOffer;
use crate::protocol::sse::BadQuery;
use crate::types::HandshakeFailure;

/// A refused handshake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::net) enum Refusal {
    #[error("this is a WebSocket endpoint: connect with a WebSocket client")]
    NotWebSocket,
    #[error("only version 13 of the WebSocket protocol is supported")]
    Version,
    #[error("Sec-WebSocket-Key has to be 16 bytes in base64")]
    Key,
    #[error(transparent)]
    Offer(#[from] BadOffer),
    #[error("this origin may not connect: see --allowed-origins")]
    Origin,
    #[error("the broker is full: try again later")]
    Full,
    #[error(
        "this address has as many connections as one may have: close some, or see \
         --max-connections-per-address"
    )]
    Address,
    #[error("too many clients are connecting: try again in a second")]
    Rate,
    #[error("the broker is stopping")]
    Stopping,
    #[error("the application has too much to do: try again in a second")]
    Busy,
    #[error("this node isn't up to date: try again in a second")]
    Behind,
    #[error("{0}: connect with a valid token")]
    Unauthorized(auth::Refused),
    /// Answered with 403, as Phoenix does.
    #[error("{0}: connect with a valid token")]
    Forbidden(auth::Refused),
    #[error("subscription denied: {0}")]
    Rejected(Cow<'static, str>),
    #[error("{0}")]
    TooMuch(Cow<'static, str>),
    #[error(transparent)]
    Query(#[from] BadQuery),
    #[error("the system has no random numbers")]
    NoRandomness,
}

impl From<AdmissionError> for Refusal {
    fn from(reason: AdmissionError) -> Self {
        match reason {
            AdmissionError::Full => Self::Full,
            AdmissionError::Address => Self::Address,
            AdmissionError::Rate => Self::Rate,
        }
    }
}

impl Refusal {
    const fn meaning(&self) -> (StatusCode, HandshakeFailure) {
        match self {
            Self::NotWebSocket => (StatusCode::UPGRADE_REQUIRED, HandshakeFailure::NotWebSocket),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, HandshakeFailure::Version),
            Self::Key => (StatusCode::BAD_REQUEST, HandshakeFailure::Key),
            Self::Offer(_) => (StatusCode::BAD_REQUEST, HandshakeFailure::Subprotocol),
            Self::Origin => (StatusCode::FORBIDDEN, HandshakeFailure::Origin),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Full),
            Self::Address => (StatusCode::TOO_MANY_REQUESTS, HandshakeFailure::Address),
            Self::Rate => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Rate),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Stopping),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Busy),
            Self::Behind => (StatusCode::SERVICE_UNAVAILABLE, HandshakeFailure::Behind),
            Self::Unauthorized(_) | Self::Rejected(_) => {
                (StatusCode::UNAUTHORIZED, HandshakeFailure::Unauthorized)
            }
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, HandshakeFailure::Unauthorized),
            Self::TooMuch(_) | Self::Query(_) => {
                (StatusCode::BAD_REQUEST, HandshakeFailure::Malformed)
            }
            Self::NoRandomness => (StatusCode::INTERNAL_SERVER_ERROR, HandshakeFailure::System),
        }
    }
}

/// Counts a refusal, and returns its status.
pub(in crate::net) fn note(context: &Context, client: IpAddr, refusal: &Refusal) -> StatusCode {
    let (status, failure) = refusal.meaning();
    context.instruments.handshake_failures.increment(failure);
    tracing::debug!(%client, reason = %refusal, "handshake refused");
    status
}

/// The response to a refused request.
pub(in crate::net) fn refuse(refusal: &Refusal, status: StatusCode) -> Response {
    let mut response = Response::new(format!("{refusal}\n").into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(refusal, Refusal::Rate | Refusal::Behind | Refusal::Busy) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
