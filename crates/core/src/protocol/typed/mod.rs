//! Typed JSON: objects with a `type` and a `payload`, simple enough to be written by hand.
//!
//! Everyone is in one room unless a payload names another. `docs/TYPED.md` lists the frames.

mod decode;
mod encode;

use super::registry::{Audience, Protocol, Sender, WireFormat};
use crate::types::{
    Capabilities, ClientCommand, Codec, ConnectionMessage, Head, Reference, Request, ServerMessage,
};

/// Codec of its clients.
pub const CODEC: Codec = Codec::new(2, Capabilities::CLOSE_CODES);

/// Row in the registry. The path is the address itself: `websocat ws://127.0.0.1:8080/`.
pub static PROTOCOL: Protocol = Protocol::plain("typed", "/", CODEC, &Format);

struct Format;

impl WireFormat for Format {
    fn decode<'a>(&self, text: &'a str, _: &Sender<'_>) -> Request<'a> {
        Request::unnamed(decode::decode(text))
    }

    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        decode::decode_head(text)
    }

    fn decode_connecting(&self) -> Option<ClientCommand<'static>> {
        Some(decode::follow_default_room())
    }

    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>) {
        encode::encode(&to.group.identifier, message, out);
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
