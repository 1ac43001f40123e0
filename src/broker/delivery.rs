//! What subscribers are told.

use std::sync::Arc;

use crate::types::{GroupKey, Reference, ServerMessage};

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
