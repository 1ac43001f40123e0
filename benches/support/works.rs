//! Every piece of work that needs a size.

use broker::protocol::{action_cable, phoenix};

use super::expiry::expiry;
use super::replica::replica;
use super::room::{burst, churn, fan_out, list, list_after_a_change};
use super::work::Work;

/// How large the work is.
pub(crate) struct Sizes {
    /// Subscribers that get one message.
    pub(crate) subscribers: u32,
    /// Subscribers that get a hundred messages at once.
    pub(crate) burst: u32,
    /// Members of the room that somebody joins and leaves.
    pub(crate) room: u32,
    /// Members in a list.
    pub(crate) members: u32,
    /// Records that expire.
    pub(crate) records: u32,
    /// Rooms of another node's clients.
    pub(crate) rooms: u32,
}

/// The work of streams, at these sizes.
pub(crate) fn works(sizes: &Sizes) -> [Work; 11] {
    let Sizes { subscribers, burst: in_burst, room, members, records, rooms } = *sizes;
    [
        fan_out(action_cable::CODEC, subscribers),
        fan_out(phoenix::CODEC, subscribers),
        burst(action_cable::CODEC, 100, in_burst),
        burst(phoenix::CODEC, 100, in_burst),
        churn(action_cable::CODEC, 10),
        churn(action_cable::CODEC, room),
        churn(phoenix::CODEC, room),
        list(action_cable::CODEC, members),
        list_after_a_change(action_cable::CODEC, members),
        expiry(records),
        replica(rooms),
    ]
}
