//! Phoenix's long polling, for networks that let no WebSocket through (the client's
//! `assets/js/phoenix/longpoll.js`, the server's `lib/phoenix/transports/long_poll.ex`).
//!
//! ```text
//! GET without a token        → 410 and a token: there is a connection now
//! GET  ?token=…              → 200 and messages, as soon as there are any; 204 if there are none
//! POST ?token=…              → 200: what the client says, a message a line
//! either with a token of old → 410
//! ```
//!
//! These are the statuses in the answer's body, by which the client goes. HTTP's is 200, unless the
//! broker has no room.
//!
//! The connection is one as over a WebSocket, with all that belongs to it, but over a [`PollSocket`](pipe::PollSocket).

mod frames;
mod pipe;
mod posted;
mod route;
#[cfg(test)]
mod tests;
mod tokens;

pub use route::route;
