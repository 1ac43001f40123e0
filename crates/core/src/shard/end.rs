//! Ends of connections.

use std::time::Duration;

use super::Shard;
use crate::log::{Change, Parking};
use crate::shard::delivery::Destination;
use crate::shard::input::{End, SubscriberKey};
use crate::types::{GroupKey, StreamName};

impl<R: Destination> Shard<R> {
    pub(super) fn ended(&mut self, name: &StreamName, key: &SubscriberKey, end: End) {
        let Some(index) = self.find(name) else { return };
        if let Some(subscriber) = self.unsubscribe(index, key)
            && let Some(stream) = self.streams.get(index)
        {
            let by = key.subscription();
            let own = end.ttl.map(|ttl| Duration::from_secs(ttl.get().into()));
            let ttl = own.unwrap_or(self.settings.presence_ttl);
            let GroupKey { codec, watch, .. } = key.group;
            let (is_sent, is_shared) = (self.replies.is_empty(), self.shared.is_some());
            let grant = end.grant.filter(|_| self.settings.resume.is_for(codec));
            debug_assert!(grant.is_none() || is_sent || is_shared, "replies come first");
            let unacked_since = end.unacked_since.or((!is_sent).then_some(self.now));
            let parking = grant.map(|_| {
                let known = stream.known(&subscriber, unacked_since, self.ticks);
                Box::new(Parking { codec, watch, known, ttl: self.settings.resume.ttl })
            });
            let is_known = stream.state.knows(&by);
            if let Some(grant) = grant.filter(|_| is_shared) {
                // now that it matters: so that any node can resume it
                let change = Change::Subscribed { by: by.clone(), codec, watch, grant };
                self.commit_change(index, change, end.at).ok(); // it is never void
            }
            if parking.is_some() || is_known {
                let change = Change::Ended { by, ttl, parking };
                self.commit_change(index, change, end.at).ok(); // likewise
            }
        }
        self.give_back(index);
        self.forget_if_idle(index);
    }

    /// Ends a parked subscription.
    pub(super) fn forget_parked(&mut self, name: &StreamName, key: &SubscriberKey) {
        let Some(index) = self.find(name) else { return };
        self.lapse(index, key.subscription(), self.now);
        self.forget_if_idle(index);
    }
}
