//! The row of Phoenix Channels.

use super::names::RESERVED_PRESENCE_IDS;
use super::{connecting, decode, encode};
use crate::protocol::row::Protocol;
use crate::protocol::wire_format::{Audience, Peer, Sender, WireFormat};
use crate::types::{
    Capabilities, Codec, ConnectionMessage, Head, Request, ServerMessage, Transport,
};

/// Codec of its clients.
pub const CODEC: Codec = Codec::new(
    1,
    Capabilities::RECORDS.and(Capabilities::MERGES_EVENTS).and(Capabilities::CLOSE_CODES),
);

/// Row in the registry.
pub static PROTOCOL: Protocol = Protocol {
    transports: &[(Transport::WebSocket, "/websocket"), (Transport::LongPolling, "/longpoll")],
    handshake: Some(connecting::handshake),
    // after each successful handshake the client resets its reconnect delay, so a refusal after it
    // would make it reconnect at once
    refuses_by_status: true,
    reserved_presence_ids: Some(RESERVED_PRESENCE_IDS),
    ..Protocol::plain("phoenix", "/socket", CODEC, &Format)
};

struct Format;

impl WireFormat for Format {
    fn decode<'a>(&self, text: &'a str, sender: &Sender<'_>) -> Request<'a> {
        decode::decode(text, sender.now)
    }

    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        decode::decode_head(text)
    }

    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>) {
        encode::encode(&to.group.identifier, message, to.reference, out);
    }

    fn encode_run(&self, to: &Audience<'_>, messages: &[ServerMessage], out: &mut Vec<u8>) {
        encode::encode_run(to, messages, out);
    }

    fn encode_connection(&self, to: &Peer<'_>, message: &ConnectionMessage, out: &mut Vec<u8>) {
        encode::encode_connection(message, to.reference, out);
    }
}
