//! Why a connection never became a WebSocket.

/// What was wrong with a handshake, as metrics and logs say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFailure {
    /// A plain HTTP request.
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

impl HandshakeFailure {
    /// Every failure, for metrics that must exist before they count.
    pub const ALL: [Self; 17] = [
        Self::NotWebSocket,
        Self::Version,
        Self::Key,
        Self::Subprotocol,
        Self::Origin,
        Self::Full,
        Self::Address,
        Self::Rate,
        Self::Stopping,
        Self::Unauthorized,
        Self::Timeout,
        Self::Tls,
        Self::Crowded,
        Self::Malformed,
        Self::Incomplete,
        Self::Accept,
        Self::System,
    ];

    /// The failure in a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotWebSocket => "not_websocket",
            Self::Version => "version",
            Self::Key => "key",
            Self::Subprotocol => "subprotocol",
            Self::Origin => "origin",
            Self::Full => "full",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::Stopping => "stopping",
            Self::Unauthorized => "unauthorized",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Crowded => "crowded",
            Self::Malformed => "malformed",
            Self::Incomplete => "incomplete",
            Self::Accept => "accept",
            Self::System => "system",
        }
    }
}
