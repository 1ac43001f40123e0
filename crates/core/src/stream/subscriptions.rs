//! The subscriptions of a stream that can be resumed.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::digest::{Sum, mix, of_subscription};
use super::pages::is_roomy;
use crate::log::{Known, Parked, Subscription};
use crate::types::{Codec, Grant, Rights, Watch};

/// Subscriptions that a stream's state has to remember: parked, or resumable after a restart.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// In an order that follows from the log, since effects and snapshots follow it. A snapshot keeps it.
    all: IndexMap<Subscription, SubscriptionState, RandomState>,
    /// Number of parked ones.
    parked: usize,
    /// Digest of all.
    digest: Sum,
}

/// State of a subscription.
#[derive(Clone, Debug)]
pub(crate) struct SubscriptionState {
    pub(crate) codec: Codec,
    pub(crate) watch: Watch,
    /// Its rights and identity, if they are kept on disk.
    pub(crate) grant: Option<Box<Grant>>,
    /// Set while it is parked.
    pub(crate) parked: Option<Parked>,
}

impl SubscriptionState {
    pub(super) fn of(
        (codec, watch): (Codec, Watch),
        grant: Option<Box<Grant>>,
        parked: Option<Parked>,
    ) -> Self {
        Self { codec, watch, grant, parked }
    }

    /// Digest of its replicated state, and of its key.
    fn digest(&self, by: &Subscription) -> u64 {
        let grant = self.grant.as_deref();
        let rights = grant.map_or(Rights { join: false, whisper: false }, |grant| grant.rights);
        let is_counted = match self.watch {
            Watch::Members => false,
            Watch::Occupancy => true,
        };
        let flags =
            [is_counted, grant.is_some(), rights.join, rights.whisper, self.parked.is_some()];
        let number = u64::from(self.codec.number());
        let kind = flags.into_iter().fold(number, |all, flag| all << 1 | u64::from(flag));
        let mut digest = mix(of_subscription(by), kind);
        if let Some(Grant { identity, .. }) = grant {
            digest = mix(mix(digest, identity.identifier), identity.presence_id);
        }
        if let Some(Parked { at, known: Known { confirmed_before, sent_before } }) = self.parked {
            digest = mix(mix(mix(digest, at.0), confirmed_before.0), sent_before.0);
        }
        digest
    }
}

impl Subscriptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn get(&self, by: &Subscription) -> Option<&SubscriptionState> {
        self.all.get(by)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Subscription, &SubscriptionState)> {
        self.all.iter()
    }

    /// Adds a subscription that isn't there.
    pub(super) fn insert(&mut self, by: Subscription, held: SubscriptionState) {
        self.parked += usize::from(held.parked.is_some());
        self.digest.add(held.digest(&by));
        let before = self.all.insert(by, held);
        debug_assert!(before.is_none(), "it would still be counted");
    }

    pub(super) fn remove(&mut self, by: &Subscription) -> Option<SubscriptionState> {
        let held = self.all.swap_remove(by)?;
        self.parked -= usize::from(held.parked.is_some());
        self.digest.remove(held.digest(by));
        if is_roomy(self.all.len(), self.all.capacity()) {
            self.all.shrink_to(2 * self.all.len());
        }
        Some(held)
    }

    /// Number of parked ones.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Digest of all, with everything that is replicated.
    pub(super) fn digest(&self) -> Sum {
        self.digest
    }

    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl IntoIterator for Subscriptions {
    type Item = (Subscription, SubscriptionState);
    type IntoIter = indexmap::map::IntoIter<Subscription, SubscriptionState>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}
