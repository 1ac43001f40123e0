//! The subscriptions of a stream that can be resumed.

use std::collections::HashMap;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::pages::is_roomy;
use crate::log::{Known, Subscription};
use crate::types::{Codec, Grant, Watch};

/// Subscriptions that a stream's state has to remember: parked, or resumable after a restart.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(HashMap<Subscription, Held, RandomState>);

/// State of a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) codec: Codec,
    pub(crate) watch: Watch,
    /// Its rights and identity, if they are kept on disk.
    pub(crate) grant: Option<Box<Grant>>,
    /// Member events its client has got; set while it is parked.
    pub(crate) known: Option<Known>,
    /// Timer of its lapse by this node's clock; not replicated.
    pub(crate) timer: Option<Timer>,
}

/// A time, and a number that makes it unique.
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
