//! Why a handshake failed.

/// Why a handshake failed, as used in metrics and logs.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::AsRefStr,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum HandshakeFailure {
    /// A plain HTTP request.
    #[strum(serialize = "not_websocket")]
    NotWebSocket,
    /// A version of the WebSocket protocol other than 13.
    Version,
    /// An invalid `Sec-WebSocket-Key`.
    Key,
    /// No supported subprotocol.
    Subprotocol,
    /// The page's origin is not allowed.
    Origin,
    /// The maximum number of connections is reached.
    Full,
    /// The maximum number of connections of the address is reached.
    Address,
    /// The maximum number of handshakes per second is reached.
    Rate,
    /// The broker is stopping.
    Stopping,
    /// The node isn't up to date.
    Behind,
    /// The application has too much to do.
    Busy,
    /// The token is invalid or the subscription denied, where the client learns it from the
    /// response to its request.
    Unauthorized,
    /// The request's head didn't arrive in time.
    Timeout,
    /// Not TLS, or no agreement on version or certificate.
    Tls,
    /// Evicted while others needed its slot.
    Crowded,
    /// Not HTTP, or the head is too large, or the query is invalid.
    Malformed,
    /// The connection ended within the request.
    Incomplete,
    /// The system had no file or memory for the connection.
    Accept,
    /// The system refused another resource.
    System,
}
