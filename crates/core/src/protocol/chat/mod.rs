//! The chat room: flat JSON objects with a `type`, for a page that shows messages, who is there and
//! who is typing. `docs/CHAT.md` lists the frames.

mod decode;
mod encode;
mod message;

pub use message::encode_history;

use super::registry::{Audience, Protocol, Sender, WireFormat};
use crate::types::{
    Capabilities, Codec, ConnectionMessage, Head, Reference, Request, ServerMessage,
};

/// Codec of its clients.
pub const CODEC: Codec =
    Codec::new(3, Capabilities::REPEATS_MEMBERS.and(Capabilities::CLOSE_CODES));

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

/// The name of a client that gives none.
pub const GUEST: &str = "Guest";

/// The sender of a message that names none.
const SYSTEM: &str = "system";

/// The kind of whisper that says who is typing.
const TYPING: &str = "typing";
