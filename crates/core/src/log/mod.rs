//! What happens to streams, in an order that is the same for everyone who applies it.
//!
//! A [`Change`] is what is to happen to a stream. An [`Entry`] is a change in its place: whoever
//! applies the same entries in the same order holds the same streams.

mod change;
mod entry;

pub use change::{Change, Due, Known, Owner, Parking, Subscription};
pub use entry::{Entry, LogId, NodeId, Origin, Position, Void};
