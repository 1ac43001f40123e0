//! Names on the wire.

/// The topic of heartbeats, as its token: nobody can join it.
pub(super) const HEARTBEAT_TOPIC: &str = "\"phoenix\"";

/// How many members there are, for those who only count.
pub(super) const OCCUPANCY: &str = "occupancy";

/// What went wrong, where nobody waits for the answer to a request.
pub(super) const ERROR: &str = "broker:error";

/// Presence ids that pages can't bear. `Presence` of npm `phoenix` before 1.8.9 keeps who is there in a
/// plain object, and takes what that has from the start (`Object.prototype`) for members with metas:
/// CVE-2026-56812.
pub(super) const RESERVED_PRESENCE_IDS: &[&str] = &[
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
pub(super) fn is_reserved(event: &str) -> bool {
    let own = ["phx_", "chan_reply_", "presence:", "broker:"];
    own.iter().any(|prefix| event.starts_with(prefix))
        || matches!(event, "presence_state" | "presence_diff" | OCCUPANCY)
}
