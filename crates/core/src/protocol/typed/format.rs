//! The row of typed JSON.

use super::{decode, encode};
use crate::protocol::row::Protocol;
use crate::protocol::wire_format::{Audience, Peer, Sender, WireFormat};
use crate::types::{
    Capabilities, ClientCommand, Codec, ConnectionMessage, Head, Request, ServerMessage,
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

    fn encode_connection(&self, _: &Peer<'_>, message: &ConnectionMessage, out: &mut Vec<u8>) {
        encode::encode_connection(message, out);
    }
}
