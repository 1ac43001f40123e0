//! Messages to subscribers.

use std::sync::Arc;

use crate::types::{GroupKey, JointAnswer, Reference, ServerMessage};

/// Destination of messages: one per connection.
pub trait Destination: Clone {
    /// Counts one more record of its client, unless it has `max` already over all streams: then `Err` with
    /// their number.
    fn add_record(&self, max: usize) -> Result<(), usize>;

    /// Counts one record of its client less.
    fn remove_record(&self);

    /// Reserves room for bytes that a resumed client has missed; returns whether they fit.
    fn reserve(&self, bytes: usize) -> bool;

    /// Counts one command of its client with a reply that may be large as answered.
    fn answered(&self);
}

/// A connection and what it may still take; shared, it is a [`Destination`].
pub trait Limited {
    /// See [`Destination::add_record`].
    fn add_record(&self, max: usize) -> Result<(), usize>;

    /// See [`Destination::remove_record`].
    fn remove_record(&self);

    /// See [`Destination::reserve`].
    fn reserve(&self, bytes: usize) -> bool;

    /// See [`Destination::answered`].
    fn answered(&self);
}

impl<T: Limited> Destination for Arc<T> {
    fn add_record(&self, max: usize) -> Result<(), usize> {
        T::add_record(self, max)
    }

    fn remove_record(&self) {
        T::remove_record(self);
    }

    fn reserve(&self, bytes: usize) -> bool {
        T::reserve(self, bytes)
    }

    fn answered(&self) {
        T::answered(self);
    }
}

/// Numbers tell destinations apart where nothing is sent. What their clients have isn't limited.
macro_rules! unlimited {
    ($($number:ty),*) => {$(
        impl Destination for $number {
            fn add_record(&self, _: usize) -> Result<(), usize> {
                Ok(())
            }

            fn remove_record(&self) {}

            fn reserve(&self, _: usize) -> bool {
                true
            }

            fn answered(&self) {}
        }
    )*};
}

unlimited!((), u32, usize);

/// Messages for one subscriber, in order.
#[derive(Debug)]
pub struct Delivery<R> {
    /// Their destination.
    pub recipient: R,
    /// Its group.
    pub group: GroupKey,
    /// The messages.
    pub messages: Vec<ServerMessage>,
    /// Reference of the request that they answer.
    pub reference: Option<Arc<Reference>>,
    /// The answer of several streams that the only message is a part of. It is settled when the deliveries before this
    /// one are on their way.
    pub joint: Option<Arc<JointAnswer>>,
}

/// Messages for several subscribers of one group.
#[derive(Debug)]
pub struct FanOut<R> {
    /// Its group.
    pub group: GroupKey,
    /// The messages.
    pub messages: Vec<ServerMessage>,
    /// The recipients, each with the number of leading messages that it has already.
    pub recipients: Vec<(R, usize)>,
}
