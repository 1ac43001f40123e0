//! Phoenix Channels, version 2 of the serializer: the frames of the `phoenix` client.
//!
//! A frame is `[join_ref, ref, topic, event, payload]`. A topic is a stream, its JSON string token
//! the subscription's identifier. What has a `ref` is answered under it; what has a `join_ref` is
//! about the subscription that a client made under it, and a client drops what is about an earlier
//! one. `docs/PHOENIX.md` lists the frames.

mod connecting;
mod decode;
mod encode;

pub use connecting::{
    TOKEN_HEADER, USER_PARAMETER, VERSION_PARAMETER, choose_subprotocol, token_in_subprotocols,
};
pub use decode::{decode, decode_head};
pub use encode::{encode, encode_connection, encode_run};

/// The topic of heartbeats, as its token: nobody can join it.
const HEARTBEAT_TOPIC: &str = "\"phoenix\"";

/// How many members there are, for those who only count.
const OCCUPANCY: &str = "occupancy";

/// What went wrong, where nobody waits for the answer to a request.
const ERROR: &str = "broker:error";

/// Presence ids that pages can't bear. `Presence` of npm `phoenix` before 1.8.9 keeps who is there in a
/// plain object, and takes what that has from the start (`Object.prototype`) for members with metas:
/// CVE-2026-56812.
pub const RESERVED_PRESENCE_IDS: &[&str] = &[
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
