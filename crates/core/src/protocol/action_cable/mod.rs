//! Action Cable in JSON, base and extended: the frames of the `@rails/actioncable` and
//! `@anycable/core` clients.
//!
//! The two subprotocols differ in name only: every command and every field works on both.
//! `docs/PROTOCOL.md` lists the frames.

mod decode;
mod encode;
mod format;
mod names;
mod parameters;

pub use decode::target;
pub use encode::encode_presence_info;
pub use format::{CODEC, PROTOCOL};
pub use names::{SUBPROTOCOLS, is_frame_type};
pub use parameters::{choose_subprotocol, token_in_subprotocols};

pub(super) use encode::{encode, encode_connection, encode_presence};
pub(super) use names::{PUBSUB_CHANNEL, TURBO_CHANNEL};
