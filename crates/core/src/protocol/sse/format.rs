//! The row of server-sent events.

use super::encode;
use crate::protocol::row::Protocol;
use crate::protocol::wire_format::{Audience, Peer, Sender, WireFormat};
use crate::types::{
    BadCommand, Capabilities, Codec, CommandKind, ConnectionMessage, Request, ServerMessage,
    Transport,
};

/// Codec of its clients.
pub const CODEC: Codec = Codec::new(4, Capabilities::PINGS).over(Transport::EventStream);

/// Codec of clients that ask for bare publications.
pub const RAW: Codec = Codec::new(5, Capabilities::PINGS).over(Transport::EventStream);

/// Row in the registry.
pub static PROTOCOL: Protocol = Protocol {
    transports: &[(Transport::EventStream, "")],
    variants: &[RAW],
    refuses_by_status: true,
    ..Protocol::plain("sse", "/events", CODEC, &Format)
};

struct Format;

impl WireFormat for Format {
    fn decode<'a>(&self, _text: &'a str, _: &Sender<'_>) -> Request<'a> {
        let reason = "nothing can be said over a stream of events".into();
        let kind = CommandKind::Unknown;
        Request::unnamed(Err(BadCommand { kind, identifier: None, reason }))
    }

    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>) {
        encode::encode(&to.group.identifier, message, is_raw(to.group.codec), out);
    }

    fn encode_connection(&self, to: &Peer<'_>, message: &ConnectionMessage, out: &mut Vec<u8>) {
        encode::encode_connection(message, is_raw(to.codec), out);
    }
}

fn is_raw(codec: Codec) -> bool {
    codec.number() == RAW.number()
}
