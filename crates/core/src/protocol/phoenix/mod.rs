//! Phoenix Channels, version 2 of the serializer: the frames of the `phoenix` client.
//!
//! A frame is `[join_ref, ref, topic, event, payload]`. A topic is a stream; its JSON string token is the
//! subscription's identifier. A reply has the `ref` of its request. A `join_ref` names the client's
//! subscription, and a client drops frames of an earlier one. `docs/PHOENIX.md` lists the frames.

mod connecting;
mod decode;
mod encode;
mod format;
mod names;

pub use format::{CODEC, PROTOCOL};
