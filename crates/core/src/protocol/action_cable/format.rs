//! The row of Action Cable.

use super::encode::{encode, encode_connection};
use super::{decode, parameters};
use crate::protocol::row::Protocol;
use crate::protocol::wire_format::{Audience, Peer, Sender, WireFormat};
use crate::types::{Capabilities, Codec, ConnectionMessage, Head, Request, ServerMessage};

/// Codec of its clients.
pub const CODEC: Codec =
    Codec::new(0, Capabilities::RESUMES.and(Capabilities::PINGS).and(Capabilities::CHANNELS));

/// Row in the registry.
pub static PROTOCOL: Protocol = Protocol {
    handshake: Some(parameters::handshake),
    ..Protocol::plain("action-cable", "/cable", CODEC, &Format)
};

struct Format;

impl WireFormat for Format {
    fn decode<'a>(&self, text: &'a str, _: &Sender<'_>) -> Request<'a> {
        Request::unnamed(decode::decode(text))
    }

    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        decode::decode_head(text)
    }

    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>) {
        encode(&to.group.identifier, message, out);
    }

    fn encode_connection(&self, _: &Peer<'_>, message: &ConnectionMessage, out: &mut Vec<u8>) {
        encode_connection(message, out);
    }
}
