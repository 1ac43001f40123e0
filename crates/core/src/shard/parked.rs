//! Parked subscriptions of a shared log, as told to whoever resumes sessions of any node.

use crate::log::Subscription;
use crate::types::{Grant, StreamName, Watch};

/// A subscription has been parked, or no longer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedChange {
    /// The stream.
    pub stream: StreamName,
    /// The subscription.
    pub by: Subscription,
    /// What it is now.
    pub state: ParkedState,
}

/// Whether a subscription can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedState {
    /// It can: with the presence messages it gets, and what it was granted.
    Parked(Watch, Grant),
    /// It has been: whoever has done that has its session. [`ParkedState::Over`] follows.
    Resumed,
    /// It can't any more.
    Over,
}
