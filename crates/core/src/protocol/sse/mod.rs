//! Server-sent events: the stream that a browser's `EventSource` reads (WHATWG HTML, section 9.2), with
//! the events of AnyCable.
//!
//! Such a client sends only the request that begins the stream, with its parameters in the query.
//! `docs/EVENTS.md` lists parameters and events.

mod connecting;
mod encode;
mod event;
mod format;
mod position;

pub use connecting::{Asked, BadQuery};
pub use event::event_boundary;
pub use format::{CODEC, PROTOCOL, RAW};

pub(super) use event::KEEP_ALIVE;

#[cfg(test)]
mod tests;
