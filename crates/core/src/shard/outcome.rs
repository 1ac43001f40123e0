//! Outcomes of requests from within the broker.

use super::put::Placed;
use crate::log::Void;
use crate::types::PresenceId;

/// Names a request until its outcome is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub usize);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of [`Input::Put`](super::Input::Put): the record; `Err` is why it is refused.
    Put(Result<Placed, Void>),
    /// Of [`Input::Kick`](super::Input::Kick): the number of records removed.
    Kicked(usize),
    /// Of [`Input::Resume`](super::Input::Resume): whether it was possible. A subscription that isn't parked,
    /// or that missed more than the journal or its connection has room for, has to be made again.
    Resumed(bool),
    /// Of [`Input::Identify`](super::Input::Identify): the presence id, if it is present.
    Present(Option<PresenceId>),
    /// Of [`Shard::sync`](super::Shard::sync).
    Synced,
    /// Of a request of the application, or of a [`Shard::sync`](super::Shard::sync) right behind one: the other nodes
    /// believed this one dead before the request was in the log. It never will be.
    Dropped,
}
