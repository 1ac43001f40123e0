//! Typed JSON: objects with a `type` and a `payload`, simple enough to be written by hand.
//!
//! Everyone is in one room unless a payload names another. `docs/TYPED.md` lists the frames.

mod decode;
mod encode;
mod format;
mod names;

pub use format::{CODEC, PROTOCOL};
pub use names::DEFAULT_ROOM;
