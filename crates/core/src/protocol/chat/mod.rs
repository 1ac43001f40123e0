//! The chat room: flat JSON objects with a `type`, for a page that shows messages, who is there and
//! who is typing. `docs/CHAT.md` lists the frames.

mod decode;
mod encode;
mod message;

pub use message::encode_history;

use std::time::Duration;

use super::registry::{Protocol, WireFormat};
use crate::types::{
    Capabilities, Codec, ConnectionMessage, GroupKey, Head, PresenceId, Reference, Request,
    ServerMessage,
};

/// How its clients are spoken to.
pub const CODEC: Codec =
    Codec::new(3, Capabilities::REPEATS_MEMBERS.and(Capabilities::CLOSE_CODES));

/// Its row among the protocols.
pub static PROTOCOL: Protocol = Protocol::plain("chat", "/chat", CODEC, &Format);

struct Format;

impl WireFormat for Format {
    fn decode<'a>(
        &self,
        text: &'a str,
        called: Option<&PresenceId>,
        now: &dyn Fn() -> Duration,
    ) -> Request<'a> {
        Request::unnamed(decode::decode(text, called, now()))
    }

    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        decode::decode_head(text)
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

/// What somebody is called who gives no name.
pub const GUEST: &str = "Guest";

/// What a message is from that says not from whom.
const SYSTEM: &str = "system";

/// The kind of whisper that says who is typing.
const TYPING: &str = "typing";
