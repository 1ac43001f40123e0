//! Phoenix Channels, version 2 of the serializer: the frames of the `phoenix` client.
//!
//! A frame is `[join_ref, ref, topic, event, payload]`. A topic is a stream, its JSON string token
//! the subscription's identifier. What has a `ref` is answered under it; what has a `join_ref` is
//! about the subscription that a client made under it, and a client drops what is about an earlier
//! one. `docs/PHOENIX.md` lists the frames.

mod connecting;
mod decode;
mod encode;
mod format;
mod names;

pub use format::{CODEC, PROTOCOL};
