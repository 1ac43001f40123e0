//! Names on the wire, and reserved names.

use crate::types::ReservedIds;

/// Topic of heartbeats, as its token. It can't be joined.
pub(super) const HEARTBEAT_TOPIC: &str = "\"phoenix\"";

/// Event with the number of members.
pub(super) const OCCUPANCY: &str = "occupancy";

/// Event with an error that isn't a reply.
pub(super) const ERROR: &str = "broker:error";

/// Presence ids that break pages. `Presence` of npm `phoenix` before 1.8.9 keeps members in a plain object
/// and takes the properties of `Object.prototype` for members with metas: CVE-2026-56812.
pub(super) const RESERVED_PRESENCE_IDS: ReservedIds = ReservedIds {
    ids: &[
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
    ],
    reason: "every JavaScript object has a property of that name, and pages with npm phoenix before 1.8.9 \
             fail over it",
};

/// Whether an event is reserved: for a client (`phoenix/channel.js` listens to events that begin with
/// `phx_` and `chan_reply_`, `presence.js` to states and diffs) or for the broker. A broadcast under such a
/// name could close a page's channels or show it false members.
pub(super) fn is_reserved(event: &str) -> bool {
    let own = ["phx_", "chan_reply_", "presence:", "broker:"];
    own.iter().any(|prefix| event.starts_with(prefix))
        || matches!(event, "presence_state" | "presence_diff" | OCCUPANCY)
}
