//! Calls over gRPC: unary ones of the service `anycable.RPC`, by hand over HTTP/2.
//!
//! ```text
//! Grpc::exchange ─▶ Channel::take ─▶ a connected Peer, in turn ─▶ a stream of its connection
//!                        ▲ names are resolved anew; each address has a task that keeps it connected
//! ```
//!
//! Servers end connections every few minutes (GOAWAY): calls under way end there, those that the server hasn't taken
//! are sent over another connection, and the new one is opened while the old one drains.

mod channel;
mod client;
mod connection;
mod messages;
mod peer;
mod proto;
mod status;
#[cfg(test)]
mod tests;

pub(super) use client::Grpc;
