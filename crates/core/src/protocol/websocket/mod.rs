//! WebSocket frames as a server reads and writes them (RFC 6455 section 5), without the socket.
//!
//! ```text
//! bytes of the socket → Reader::feed → Event (borrows from those bytes)
//! write_text, write_ping, … → bytes appended to a buffer
//! ```
//!
//! The [`Reader`] works in the buffer that the socket was read into. A text message that is whole there, as
//! nearly all are, is unmasked and checked in place. Only an incomplete frame or message is kept, so the
//! reader of an idle connection is one pointer. A breach of the RFC's rules is a [`Violation`]. Control
//! frames between the fragments of a message are reported before it.
//!
//! No extensions are negotiated, hence no reserved bits and no compression. Binary
//! messages are reported ([`Event::Binary`]) but not kept, as no protocol here has them.
//! Subprotocols are handled by the handshake and the codecs.

mod boundary;
mod event;
mod frame;
mod key;
mod message;
mod progress;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use boundary::frame_boundary;
pub use event::{Event, Violation};
pub use key::accept_key;
pub use reader::Reader;
pub use writer::{write_close, write_ping, write_pong, write_text};

pub(super) use writer::EMPTY_FRAME;
