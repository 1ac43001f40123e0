//! Events of a reader. Sections are those of RFC 6455.

/// A frame or message from the client. Borrows from the bytes fed, or from those kept earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A binary message began; its payload is skipped. Reported once per message.
    Binary,
    /// A ping, to be answered by a pong with this payload of at most 125 bytes (section 5.5.2).
    Ping(&'a [u8]),
    /// A pong with its payload, whether asked for or not (section 5.5.3).
    Pong(&'a [u8]),
    /// The client closes, with the code it gave, if any (section 5.5.1). The last event.
    Close(Option<u16>),
}

/// Why the connection has to be failed (section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The client broke the protocol, to be answered with close code 1002.
    #[error("{0}")]
    Protocol(&'static str),
    /// Text, or the reason of a close, isn't UTF-8 (section 8.1): close code 1007.
    #[error("text is not valid UTF-8")]
    InvalidText,
    /// The header announces more than the limit: close code 1009.
    #[error("message exceeds the size limit")]
    TooBig,
}
