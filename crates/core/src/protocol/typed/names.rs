//! Names on the wire.

/// The default room.
pub const DEFAULT_ROOM: &str = "lobby";

/// The identifier of its subscription.
pub(super) const DEFAULT_IDENTIFIER: &str = "\"lobby\"";

// the types of what clients send
pub(super) const JOIN: &str = "presence.join";
pub(super) const LEAVE: &str = "presence.leave";
pub(super) const LIST: &str = "presence.list";

// and of what they are told
pub(super) const SYSTEM: &str = "presence.system";
pub(super) const ONLINE: &str = "presence.online";
pub(super) const OFFLINE: &str = "presence.offline";
pub(super) const CURRENT: &str = "presence.current";
pub(super) const MESSAGE: &str = "message";
pub(super) const WHISPER: &str = "whisper";
pub(super) const ERROR: &str = "error";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_room_is_named_once() {
        assert_eq!(serde_json::to_string(DEFAULT_ROOM).unwrap(), DEFAULT_IDENTIFIER);
    }
}
