//! Typed JSON: objects with a `type` and a `payload`, simple enough to be written by hand.
//!
//! Everyone is in one room unless a payload names another. `docs/TYPED.md` lists the frames.

mod decode;
mod encode;

use std::time::Duration;

use super::registry::{Protocol, WireFormat};
use crate::types::{
    Capabilities, ClientCommand, Codec, ConnectionMessage, GroupKey, Head, PresenceId, Reference,
    Request, ServerMessage,
};

/// How its clients are spoken to.
pub const CODEC: Codec = Codec::new(2, Capabilities::CLOSE_CODES);

/// Its row among the protocols. The path is the address itself: `websocat ws://127.0.0.1:8080/`.
pub static PROTOCOL: Protocol = Protocol::plain("typed", "/", CODEC, &Format);

struct Format;

impl WireFormat for Format {
    fn decode<'a>(
        &self,
        text: &'a str,
        _called: Option<&PresenceId>,
        _now: &dyn Fn() -> Duration,
    ) -> Request<'a> {
        Request::unnamed(decode::decode(text))
    }

    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        decode::decode_head(text)
    }

    fn decode_connecting(&self) -> Option<ClientCommand<'static>> {
        Some(decode::follow_default_room())
    }

    fn encode(
        &self,
        group: &GroupKey,
        message: &ServerMessage,
        _reference: Option<&Reference>,
        out: &mut Vec<u8>,
    ) {
        encode::encode(&group.identifier, message, out);
    }

    fn encode_connection(
        &self,
        _codec: Codec,
        message: &ConnectionMessage,
        _reference: Option<&Reference>,
        out: &mut Vec<u8>,
    ) {
        encode::encode_connection(message, out);
    }
}

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
