//! WebSocket frames as a server reads and writes them (RFC 6455 section 5), without the socket.
//!
//! ```text
//! bytes of the socket → Reader::feed → Event (borrows from those bytes)
//! write_text, write_ping, … → bytes appended to a buffer
//! ```
//!
//! The [`Reader`] works in the buffer that the socket was read into: a text message that lies in
//! it whole, as nearly all do, is unmasked, checked and handed on where it is. Only what is
//! incomplete when the bytes end is kept, so that a connection with nothing underway holds one
//! pointer. The rest is the RFC's rules, whose breach is a [`Violation`], and its order: control
//! frames between the fragments of a message come before it.
//!
//! Nothing is negotiated: no extensions, hence no reserved bits, and no compression. Binary
//! messages are reported ([`Event::Binary`]) but not kept, as no protocol here has them.
//! Subprotocols are the handshake's business and their messages the codecs'.

mod boundary;
mod frame;
mod key;
mod message;
mod progress;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use boundary::frame_boundary;
pub use key::accept_key;
pub use reader::Reader;
pub use writer::{write_close, write_ping, write_pong, write_text};

pub(super) use writer::EMPTY_FRAME;

/// What came from the client. Borrows from the bytes fed, or from what was kept of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A binary message began; its payload is skipped. Of a fragmented one this is told once.
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
