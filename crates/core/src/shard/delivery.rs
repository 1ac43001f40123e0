//! What subscribers are told.

use std::sync::Arc;

use crate::types::{GroupKey, Reference, ServerMessage};

/// Where a subscriber's messages go: one for each connection.
pub trait Destination: Clone {
    /// Counts a record that its client has from now on, unless it has `most` already, in all streams. `Err`
    /// is how many it has.
    fn add_record(&self, most: usize) -> Result<(), usize>;

    /// The client has one record less.
    fn remove_record(&self);
}

/// A connection that counts its client's records; shared, it is a [`Destination`].
pub trait CountRecords {
    /// See [`Destination::add_record`].
    fn add_record(&self, most: usize) -> Result<(), usize>;

    /// See [`Destination::remove_record`].
    fn remove_record(&self);
}

impl<T: CountRecords> Destination for Arc<T> {
    fn add_record(&self, most: usize) -> Result<(), usize> {
        T::add_record(self, most)
    }

    fn remove_record(&self) {
        T::remove_record(self);
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
        }
    )*};
}

unlimited!((), u32, usize);

/// Messages for one subscriber, in order.
#[derive(Debug)]
pub struct Delivery<R> {
    /// Where they go.
    pub recipient: R,
    /// In whose words.
    pub group: GroupKey,
    /// What it is told.
    pub messages: Vec<ServerMessage>,
    /// By what its client knows the request that is answered with it, if by anything.
    pub reference: Option<Arc<Reference>>,
}

/// Messages for several subscribers of one group.
#[derive(Debug)]
pub struct FanOut<R> {
    /// In whose words.
    pub group: GroupKey,
    /// What they are told.
    pub messages: Vec<ServerMessage>,
    /// Each with how many of the messages, from the first on, it has already.
    pub recipients: Vec<(R, usize)>,
}
