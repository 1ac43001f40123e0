//! Typed JSON: objects with a `type` and a `payload`, simple enough to be written by hand.
//!
//! Everyone is in one room unless a payload names another. `docs/TYPED.md` lists the frames.

mod decode;
mod encode;

pub use decode::{decode, decode_head, follow_default_room};
pub use encode::{encode, encode_connection};

/// The room that is meant where none is named.
pub const DEFAULT_ROOM: &str = "lobby";

/// The same as the identifier of its subscription.
const DEFAULT_IDENTIFIER: &str = "\"lobby\"";

// the types of what clients send
const JOIN: &str = "presence.join";
const LEAVE: &str = "presence.leave";
const LIST: &str = "presence.list";

// and of what they are told
const SYSTEM: &str = "presence.system";
const ONLINE: &str = "presence.online";
const OFFLINE: &str = "presence.offline";
const CURRENT: &str = "presence.current";
const MESSAGE: &str = "message";
const WHISPER: &str = "whisper";
const ERROR: &str = "error";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_room_is_named_once() {
        assert_eq!(serde_json::to_string(DEFAULT_ROOM).unwrap(), DEFAULT_IDENTIFIER);
    }
}
