//! Why a connection ended.

/// How a connection ended, as metrics, logs and (where the client can be told) the wire say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::AsRefStr, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CloseReason {
    /// The client sent a close frame.
    ClientClosed,
    /// The socket ended or was reset without a close frame.
    ClientGone,
    /// Nothing came from the client for too long, not even an answer to a ping.
    NoPong,
    /// The client reads slower than it is sent to, and its outbox overflowed.
    TooSlow,
    /// The client sends far more commands than it may.
    TooFast,
    /// The broker stops.
    ServerRestart,
    /// The client broke RFC 6455.
    ProtocolError,
    /// A text message was not UTF-8.
    InvalidText,
    /// A binary message, where the protocol has only text.
    UnsupportedData,
    /// A message over the size limit.
    MessageTooBig,
    /// There is no good token.
    Unauthorized,
    /// The token's time is over.
    TokenExpired,
    /// Another connection has taken the session over.
    Resumed,
    /// The application said so.
    Remote {
        /// Whether the client should come back.
        reconnect: bool,
    },
}

impl CloseReason {
    /// Every reason, for metrics that must exist before they count.
    pub const ALL: [Self; 15] = [
        Self::ClientClosed,
        Self::ClientGone,
        Self::NoPong,
        Self::TooSlow,
        Self::TooFast,
        Self::ServerRestart,
        Self::ProtocolError,
        Self::InvalidText,
        Self::UnsupportedData,
        Self::MessageTooBig,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::Resumed,
        Self::Remote { reconnect: false },
        Self::Remote { reconnect: true },
    ];

    /// The WebSocket close code for clients that are told by it alone whether to come back, as
    /// Phoenix's: 1000 is not to.
    pub const fn telling_close_code(self) -> u16 {
        match self {
            Self::NoPong | Self::TooSlow | Self::Remote { reconnect: true } => 1012,
            Self::ClientClosed
            | Self::ClientGone
            | Self::TooFast
            | Self::ServerRestart
            | Self::ProtocolError
            | Self::InvalidText
            | Self::UnsupportedData
            | Self::MessageTooBig
            | Self::Unauthorized
            | Self::TokenExpired
            | Self::Resumed
            | Self::Remote { reconnect: false } => self.close_code(),
        }
    }

    /// The WebSocket close code that goes with it (RFC 6455 section 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::ClientClosed
            | Self::ClientGone
            | Self::NoPong
            | Self::TooSlow
            | Self::Unauthorized
            | Self::TokenExpired
            | Self::Resumed
            | Self::Remote { .. } => 1000,
            Self::ServerRestart => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidText => 1007,
            Self::TooFast => 1008,
            Self::MessageTooBig => 1009,
        }
    }
}
