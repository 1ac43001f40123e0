//! Why a connection never became a WebSocket.

/// What was wrong with a handshake, as metrics and logs say it.
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
    /// A `Sec-WebSocket-Key` that is none.
    Key,
    /// Only subprotocols that aren't spoken here.
    Subprotocol,
    /// A page of an origin that isn't among the allowed ones.
    Origin,
    /// As many connections as there may be.
    Full,
    /// As many connections of one address as there may be.
    Address,
    /// As many handshakes in a second as there may be.
    Rate,
    /// The broker stops.
    Stopping,
    /// Its token or what it asks for isn't good, where a refused client hears of it by its request's
    /// answer.
    Unauthorized,
    /// The request's head didn't arrive in time.
    Timeout,
    /// What arrived is not TLS, or the two agreed on nothing.
    Tls,
    /// It waited while others needed its place.
    Crowded,
    /// What arrived is not HTTP, or its head is too large, or its query makes no sense.
    Malformed,
    /// The connection ended before the request did.
    Incomplete,
    /// The system had no file or memory for the connection.
    Accept,
    /// The system refused something else.
    System,
}
