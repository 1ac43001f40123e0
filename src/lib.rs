//! `broker`: a sidecar that holds an application's WebSockets, the streams they follow, and who
//! is present in them.
//!
//! Layers, each naming only those below it (`tests/architecture.rs` holds them apart):
//!
//! ```text
//! cli        arguments → Config
//! server     wiring, accept loop, shutdown
//! net        connections of clients     http  publish, presence, health, metrics
//! node       Router: commands to shards, a task each
//! outbound   outboxes, sockets     state  what outlives the process     app  what the application is asked
//! engine     logs of several nodes, in Redis or NATS
//! clock      time without pauses
//! telemetry  config  cors  filters
//! shard      streams with their subscribers, fan-out, deadlines
//! stream     presence, history, journal     session  subscriptions, questions     protocol  wire formats, frames
//! auth       tokens, signed names, origins     log  what happens to streams, in order
//! types      ids, commands, messages, limits
//! ```
//!
//! `docs/ARCHITECTURE.md` walks one frame through them.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cors;
pub mod engine;
pub mod filters;
pub mod http;
pub mod net;
pub mod node;
pub mod outbound;
pub mod server;
pub mod state;
pub mod telemetry;

pub use broker_core::{auth, cluster, log, protocol, session, shard, types};
