//! The subscriptions of a stream that can be resumed.

use std::collections::HashMap;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::pages::is_roomy;
use crate::log::{Known, Subscription};
use crate::types::{Codec, Grant, Watch};

/// The subscriptions that a stream has to know of beyond their connections.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(HashMap<Subscription, Held, RandomState>);

/// What is known of a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) codec: Codec,
    pub(crate) watch: Watch,
    /// What it was given, where that is kept beyond the process.
    pub(crate) grant: Option<Box<Grant>>,
    /// What its client knew, once its connection has ended: it is parked.
    pub(crate) known: Option<Known>,
    /// When it lapses by this node's clock: no part of what nodes agree on.
    pub(crate) timer: Option<Timer>,
}

/// A time, and what tells it from others at the same time.
pub(crate) type Timer = (Instant, u64);

impl Held {
    pub(super) fn of(
        (codec, watch): (Codec, Watch),
        grant: Option<Box<Grant>>,
        known: Option<Known>,
    ) -> Self {
        Self { codec, watch, grant, known, timer: None }
    }
}

impl Subscriptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, by: &Subscription) -> Option<&Held> {
        self.0.get(by)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Subscription, &Held)> {
        self.0.iter()
    }

    pub(super) fn get_mut(&mut self, by: &Subscription) -> Option<&mut Held> {
        self.0.get_mut(by)
    }

    pub(super) fn insert(&mut self, by: Subscription, held: Held) {
        self.0.insert(by, held);
    }

    pub(super) fn remove(&mut self, by: &Subscription) -> Option<Held> {
        let held = self.0.remove(by);
        if is_roomy(self.0.len(), self.0.capacity()) {
            self.0.shrink_to(2 * self.0.len());
        }
        held
    }

    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl IntoIterator for Subscriptions {
    type Item = (Subscription, Held);
    type IntoIter = std::collections::hash_map::IntoIter<Subscription, Held>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
