//! The chat room: flat JSON objects with a `type`, for a page that shows messages, who is there and
//! who is typing. `docs/CHAT.md` lists the frames.

mod decode;
mod encode;
mod message;

pub use decode::{decode, decode_head};
pub use encode::{encode, encode_connection};
pub use message::encode_history;

/// What somebody is called who gives no name.
pub const GUEST: &str = "Guest";

/// What a message is from that says not from whom.
const SYSTEM: &str = "system";

/// The kind of whisper that says who is typing.
const TYPING: &str = "typing";
