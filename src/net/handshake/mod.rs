//! Handshakes: the request's parameters, the access check, and the response.

mod open;
mod origin;
mod params;
mod refusal;
mod websocket;

pub(super) use open::{check_origin, open};
pub use origin::OriginRules;
pub(super) use params::read_params;
pub(super) use refusal::{Refusal, note, refuse};
pub use websocket::route;
