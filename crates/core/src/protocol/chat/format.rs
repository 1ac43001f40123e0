//! The row of the chat room.

use super::{decode, encode};
use crate::protocol::row::Protocol;
use crate::protocol::wire_format::{Audience, Peer, Sender, WireFormat};
use crate::types::{Capabilities, Codec, ConnectionMessage, Head, Request, ServerMessage};

/// Codec of its clients.
pub const CODEC: Codec = Codec::new(
    3,
    Capabilities::REPEATS_MEMBERS.and(Capabilities::CLOSE_CODES).and(Capabilities::KEEPS_NAMES),
);

/// Row in the registry.
pub static PROTOCOL: Protocol = Protocol::plain("chat", "/chat", CODEC, &Format);

struct Format;

impl WireFormat for Format {
    fn decode<'a>(&self, text: &'a str, sender: &Sender<'_>) -> Request<'a> {
        Request::unnamed(decode::decode(text, sender.presence_id, (sender.now)()))
    }

    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        decode::decode_head(text)
    }

    fn is_nameless(&self, text: &str) -> bool {
        decode::is_nameless(text)
    }

    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>) {
        encode::encode(&to.group.identifier, message, out);
    }

    fn encode_connection(&self, _: &Peer<'_>, message: &ConnectionMessage, out: &mut Vec<u8>) {
        encode::encode_connection(message, out);
    }
}
