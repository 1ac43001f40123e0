//! Occupancy: the number of members, sent at most once per interval.

use std::time::Instant;

use super::Shard;
use crate::log::Position;
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::shard::timers::Due;
use crate::types::ServerMessage;

impl<R: Destination> Shard<R> {
    /// Sends one subscriber the current number.
    pub(super) fn tell_count_to(&mut self, index: u32, key: &SubscriberKey) {
        let stream = self.streams.live_mut(index);
        let total = stream.state.presence().members();
        if let Some((_, known)) = &mut stream.counted
            && *known != Some(total)
        {
            *known = None;
        }
        self.reply(index, key, [ServerMessage::Occupancy(total)]);
    }

    /// Notes that the number changed: it is sent now, or when the interval is over.
    pub(super) fn count_changed(&mut self, index: u32, now: Instant) {
        let interval = self.settings.occupancy_interval;
        let stream = self.streams.live_mut(index);
        if stream.count_due.is_some() || !stream.is_counted() {
            return;
        }
        match stream.counted.map(|(at, _)| at + interval).filter(|next| *next > now) {
            Some(next) => {
                let due = Due::Count { stream: index };
                stream.count_due = Some(self.timers.add(next, due));
            }
            None => self.tell_count(index, now),
        }
    }

    /// Sends the number to all occupancy subscribers, unless they have it.
    pub(super) fn tell_count(&mut self, index: u32, now: Instant) {
        let stream = self.streams.live_mut(index);
        stream.count_due = None;
        let total = stream.state.presence().members();
        let is_news = stream.counted.is_none_or(|(_, known)| known != Some(total));
        if stream.is_counted() && is_news {
            stream.counted = Some((now, Some(total)));
            self.say(
                index,
                Position(self.next.0.saturating_sub(1)),
                ServerMessage::Occupancy(total),
                None,
                now,
            );
        }
    }
}
