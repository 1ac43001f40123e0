//! Why a connection ended.

use strum::IntoEnumIterator as _;

/// Why a connection ended, as used in metrics, logs and, where possible, on the wire.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, strum::AsRefStr, strum::IntoStaticStr, strum::EnumIter,
)]
#[strum(serialize_all = "snake_case")]
pub enum CloseReason {
    /// The client sent a close frame.
    ClientClosed,
    /// The socket ended or was reset without a close frame.
    ClientGone,
    /// No bytes from the client for too long, not even a pong.
    NoPong,
    /// The client read too slowly, and its outbox overflowed.
    TooSlow,
    /// The client sent far more commands than allowed.
    TooFast,
    /// The broker is stopping.
    ServerRestart {
        /// Whether the sessions go on at other nodes.
        elsewhere: bool,
    },
    /// The client violated RFC 6455.
    ProtocolError,
    /// A text message was not UTF-8.
    InvalidText,
    /// A binary message where only text is allowed.
    UnsupportedData,
    /// A message over the size limit.
    MessageTooBig,
    /// No valid token.
    Unauthorized,
    /// The token has expired.
    TokenExpired,
    /// Another connection has resumed the session.
    Resumed,
    /// Closed by the application.
    Remote {
        /// Whether the client should reconnect.
        reconnect: bool,
    },
    /// The application answered a command by closing the connection.
    Application,
    /// The application can't be asked what the client may do.
    ServerError,
}

impl CloseReason {
    /// All reasons, for metrics that are exported from the start.
    pub fn all() -> impl Iterator<Item = Self> {
        // the other values are in `iter`
        Self::iter()
            .chain([Self::Remote { reconnect: true }, Self::ServerRestart { elsewhere: true }])
    }

    /// The close code for clients that decide by it alone whether to reconnect, as Phoenix's do:
    /// 1000 means not to.
    pub(crate) const fn telling_close_code(self) -> u16 {
        match self {
            Self::NoPong | Self::TooSlow | Self::Remote { reconnect: true } => 1012,
            Self::ClientClosed
            | Self::ClientGone
            | Self::TooFast
            | Self::ServerRestart { .. }
            | Self::ProtocolError
            | Self::InvalidText
            | Self::UnsupportedData
            | Self::MessageTooBig
            | Self::Unauthorized
            | Self::TokenExpired
            | Self::Resumed
            | Self::Application
            | Self::ServerError
            | Self::Remote { reconnect: false } => self.close_code(),
        }
    }

    /// The reason's WebSocket close code (RFC 6455 section 7.4.1).
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::ClientClosed
            | Self::ClientGone
            | Self::NoPong
            | Self::TooSlow
            | Self::Unauthorized
            | Self::TokenExpired
            | Self::Resumed
            | Self::Application
            | Self::Remote { .. } => 1000,
            Self::ServerRestart { .. } => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidText => 1007,
            Self::TooFast => 1008,
            Self::MessageTooBig => 1009,
            Self::ServerError => 1013,
        }
    }
}
