//! Subscribing and unsubscribing.

use std::time::{Duration, Instant};

use indexmap::map::Entry;
use strum::VariantArray as _;

use super::{Shard, live_subscriber_mut};
use crate::log::Change;
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::shard::stream::{Subscriber, UNCONFIRMED};
use crate::stream::pages::is_roomy;
use crate::types::{CommandKind, Grant, GroupKey, Repeat, ServerMessage, StreamName, Watch};

/// Time for which a confirmation may be on its way while its client repeats the subscribe.
const CONFIRMATION_ARRIVES: Duration = Duration::from_secs(5);

impl<R: Destination> Shard<R> {
    /// Adds the subscriber unless it is there already; returns the stream and whether it is new.
    pub(super) fn subscribe(
        &mut self,
        name: &StreamName,
        key: &SubscriberKey,
        recipient: R,
        grant: Grant,
    ) -> (u32, bool) {
        let index = self.find_or_add(name);
        let stream = self.streams.live_mut(index);
        let sent = stream.window.end();
        let group = stream.groups.entry(key.group.clone()).or_default();
        let place = group.entry(key.session);
        let is_new = matches!(place, Entry::Vacant(_));
        if let Entry::Vacant(place) = place {
            place.insert(Subscriber {
                recipient,
                sent,
                resumed: None,
                confirmed: UNCONFIRMED,
                is_held: false,
            });
            self.totals.subscriptions += 1;
            if self.entries.is_some() && self.settings.resume.is_for(key.group.codec) {
                let GroupKey { codec, watch, .. } = key.group;
                let change = Change::Subscribed { by: key.subscription(), codec, watch, grant };
                self.commit_change(index, change, self.now).ok(); // it is never void
            }
        }
        (index, is_new)
    }

    /// Confirms a subscription, the first time or if its client expects it again, and returns whether it is one of
    /// these. If history follows, held messages come after it.
    pub(super) fn confirm(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        (repeat, is_quiet): (Repeat, bool),
        history_follows: bool,
    ) -> bool {
        let stream = self.streams.live_mut(index);
        let subscriber = live_subscriber_mut(&mut stream.groups, key);
        let since = subscriber.confirmed;
        let is_again = since != UNCONFIRMED;
        let is_awaited = match repeat {
            Repeat::Always => true,
            Repeat::Later => {
                !is_again || self.now >= self.ticks.began(since + 1) + CONFIRMATION_ARRIVES
            }
            Repeat::Never => !is_again,
        };
        if !is_awaited {
            return false;
        }
        subscriber.confirmed = self.ticks.at(self.now);
        if is_quiet {
            return true;
        }
        if subscriber.is_held && history_follows {
            let recipient = subscriber.recipient.clone();
            self.send(recipient, key, vec![ServerMessage::Confirmed]);
        } else {
            self.reply(index, key, [ServerMessage::Confirmed]);
        }
        true
    }

    /// Moves a repeated subscription to the group of its new watch.
    pub(super) fn change_watch(&mut self, name: &StreamName, key: &SubscriberKey) {
        let Some(index) = self.find(name) else { return };
        for watch in Watch::VARIANTS.iter().copied().filter(|watch| *watch != key.group.watch) {
            let before = SubscriberKey { group: GroupKey { watch, ..key.group.clone() }, ..*key };
            self.reply(index, &before, []); // what was said so far
            let Some(subscriber) = self.unsubscribe(index, &before) else { continue };
            let stream = self.streams.live_mut(index);
            let moved = Subscriber { sent: stream.window.end(), ..subscriber };
            stream.groups.entry(key.group.clone()).or_default().insert(key.session, moved);
            self.totals.subscriptions += 1;
        }
    }

    /// Removes a subscriber.
    pub(super) fn unsubscribe(
        &mut self,
        stream: u32,
        key: &SubscriberKey,
    ) -> Option<Subscriber<R>> {
        let stream = self.streams.get_mut(stream)?;
        let subscribers = stream.groups.get_mut(&key.group)?;
        let mut subscriber = subscribers.swap_remove(&key.session)?;
        stream.held.release(&mut subscriber, self.now);
        if subscriber.end_silence() {
            self.silent -= 1;
        }
        self.totals.subscriptions -= 1;
        if subscribers.is_empty() {
            stream.groups.swap_remove(&key.group);
            stream.group_removed();
            if is_roomy(stream.groups.len(), stream.groups.capacity()) {
                stream.groups.shrink_to(2 * stream.groups.len());
            }
        } else if is_roomy(subscribers.len(), subscribers.capacity()) {
            subscribers.shrink_to(2 * subscribers.len());
        }
        Some(subscriber)
    }

    /// Handles an unsubscribe.
    pub(super) fn give_up(&mut self, name: &StreamName, key: &SubscriberKey, now: Instant) {
        let Some(stream) = self.find(name) else { return };
        if self.reference.is_some() {
            self.reply(stream, key, [ServerMessage::Done, ServerMessage::Ended]);
        }
        if let Some(subscriber) = self.unsubscribe(stream, key) {
            let by = key.subscription();
            let state = &self.streams.live(stream).state;
            if state.presence().held_by(&by).is_some() {
                subscriber.recipient.remove_record();
            }
            if state.knows(&by) {
                let change = Change::Unsubscribed { by };
                self.commit_change(stream, change, now).ok(); // it is never void
            }
            self.give_back(stream);
        }
        self.count_accepted(CommandKind::Unsubscribe);
        self.forget_if_idle(stream);
    }
}
