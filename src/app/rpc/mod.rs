//! Calls: what the application is asked about connections and channels, over AnyCable's contract.
//!
//! ```text
//! a session ─▶ Caller::call ─▶ Gate: lanes, limit, breaker ─▶ one attempt ─▶ HTTP ───────┐
//!           ◀─ the reply, or why there is none ◀─ what surely didn't run is repeated ◀ gRPC ┴─ the application
//! ```
//!
//! `queue` and what it has (`line`, `out`, `limit`, `breaker`) decide who is sent when; they are pure. A call
//! that is sent is never sent again unless the application surely hasn't run it.

mod attempt;
mod breaker;
mod caller;
mod complaints;
mod connect;
mod detached;
mod disconnects;
mod gate;
mod grpc;
mod http;
mod json;
mod limit;
mod line;
mod out;
mod queue;
#[cfg(test)]
mod support;

pub use caller::{Caller, Settings};
