//! Phoenix Channels, version 2 of the serializer: the frames of the `phoenix` client.
//!
//! A frame is `[join_ref, ref, topic, event, payload]`. A topic is a stream, its JSON string token
//! the subscription's identifier. What has a `ref` is answered under it; what has a `join_ref` is
//! about the subscription that a client made under it, and a client drops what is about an earlier
//! one. `docs/PHOENIX.md` lists the frames.

mod connecting;
mod decode;
mod encode;

use super::registry::{Audience, Protocol, Sender, WireFormat};
use crate::types::{
    Capabilities, Codec, ConnectionMessage, Head, Reference, Request, ServerMessage, Transport,
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
    reserved_presence_ids: RESERVED_PRESENCE_IDS,
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

    fn encode_connection(
        &self,
        _codec: Codec,
        message: &ConnectionMessage,
        reference: Option<&Reference>,
        out: &mut Vec<u8>,
    ) {
        encode::encode_connection(message, reference, out);
    }
}

/// The topic of heartbeats, as its token: nobody can join it.
const HEARTBEAT_TOPIC: &str = "\"phoenix\"";

/// How many members there are, for those who only count.
const OCCUPANCY: &str = "occupancy";

/// What went wrong, where nobody waits for the answer to a request.
const ERROR: &str = "broker:error";

/// Presence ids that pages can't bear. `Presence` of npm `phoenix` before 1.8.9 keeps who is there in a
/// plain object, and takes what that has from the start (`Object.prototype`) for members with metas:
/// CVE-2026-56812.
const RESERVED_PRESENCE_IDS: &[&str] = &[
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    "__proto__",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// Whether an event has a meaning of its own: for a client (`phoenix/channel.js` listens to what
/// begins with `phx_` and `chan_reply_`, `presence.js` to states and diffs) or for the broker. Said
/// by somebody else, it could take a page's channels down or show it members there aren't.
fn is_reserved(event: &str) -> bool {
    let own = ["phx_", "chan_reply_", "presence:", "broker:"];
    own.iter().any(|prefix| event.starts_with(prefix))
        || matches!(event, "presence_state" | "presence_diff" | OCCUPANCY)
}
