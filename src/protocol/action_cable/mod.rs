//! Action Cable in JSON, base and extended: the frames of the `@rails/actioncable` and
//! `@anycable/core` clients.
//!
//! The two subprotocols differ in name only: every command and every field works on both.
//! `docs/PROTOCOL.md` lists the frames.

mod decode;
mod encode;
mod parameters;

pub use decode::decode;
pub use encode::{encode, encode_connection, encode_presence_info};
pub use parameters::{Parameters, PingPrecision, choose_subprotocol};

/// The subprotocols, the default first.
pub const SUBPROTOCOLS: [&str; 2] = ["actioncable-v1-json", "actioncable-v1-ext-json"];

/// The channel whose subscriptions name their stream.
const PUBSUB_CHANNEL: &str = "$pubsub";
