//! Server-sent events.

mod body;

pub use body::{BodySocket, SocketBody, body};
