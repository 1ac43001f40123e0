//! The process: connects the layers, listens, and shuts down in order.
//!
//! ```text
//! run ─ start shards and heartbeat ─ listen ─ "ready" ─ wait for a signal
//!     ─ drain: not ready, no new sockets, connections are closed one after the other
//!     ─ stop: shards finish ─ every connection is closed with `server_restart`
//!       ─ wait, at most the shutdown timeout
//! ```
//!
//! With other nodes, the connections are closed before the shards finish. A node that has lost its logs stops likewise, and
//! begins again.

mod again;
mod announce;
mod application;
mod broker;
mod cluster;
mod error;
mod listener;
mod metrics;
mod pending;
mod room;
mod routes;
mod run;
mod settings;
mod signals;
mod state;
mod tls;

pub use again::{Before, CannotBegin};
pub use error::Error;
pub use listener::BindError;
pub use run::{Ending, run};
