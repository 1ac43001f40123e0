//! Ends of connections.

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
            let (by, ttl) = (key.subscription(), self.settings.presence_ttl);
            let GroupKey { codec, watch, .. } = key.group;
            let parks = end.resumable && self.settings.resume.is_for(codec);
            let is_sent = self.replies.is_empty();
            debug_assert!(!parks || is_sent || self.shared.is_some(), "replies come first");
            let unacked_since = end.unacked_since.or((!is_sent).then_some(self.now));
            let parking = parks.then(|| {
                let known = stream.known(&subscriber, unacked_since, self.ticks);
                Box::new(Parking { codec, watch, known, ttl: self.settings.resume.ttl })
            });
            if parks || stream.state.knows(&by) {
                let change = Change::Ended { by, ttl, parking };
                self.commit_change(index, change, end.at).ok(); // it is never void
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
