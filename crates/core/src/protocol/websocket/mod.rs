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
