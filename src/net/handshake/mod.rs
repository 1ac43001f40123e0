//! From a request to a connection: what the client asks for, whether it may, and the answer.

mod open;
mod params;
mod refusal;
mod websocket;

pub(super) use open::{check_origin, open, random_sid};
pub(super) use params::HandshakeParams;
pub(super) use refusal::{Refusal, note, refuse};
pub use websocket::route;
