//! The chat room: flat JSON objects with a `type`, for a page that shows messages, who is there and
//! who is typing. `docs/CHAT.md` lists the frames.

mod decode;
mod encode;
mod format;
mod message;
mod names;

pub use format::{CODEC, PROTOCOL};
pub use message::encode_history;
pub use names::GUEST;
