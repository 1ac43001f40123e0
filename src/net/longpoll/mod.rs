//! Phoenix's long polling, for networks that block WebSockets (client:
//! `assets/js/phoenix/longpoll.js`, server: `lib/phoenix/transports/long_poll.ex`).
//!
//! ```text
//! GET without a token        → 410 and a token: a connection has been opened
//! GET  ?token=…              → 200 and messages, as soon as there are any; 204 at the timeout
//! POST ?token=…              → 200: the body has one message per line
//! either with an old token   → 410
//! ```
//!
//! These statuses are in the response's body, which is what the client reads. The HTTP status is
//! 200, unless the broker is full.
//!
//! The connection is the same as over a WebSocket, but its socket is a
//! [`PollSocket`](pipe::PollSocket).

mod pipe;
mod posted;
mod route;
#[cfg(test)]
mod tests;
mod tokens;

pub use route::route;
