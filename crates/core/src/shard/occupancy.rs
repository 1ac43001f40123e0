//! Occupancy: the number of members, sent at most once per interval.

use std::time::Instant;

use super::Shard;
use crate::log::Position;
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::shard::timers::Timer;
use crate::types::ServerMessage;

impl<R: Destination> Shard<R> {
    /// Sends one subscriber the current occupancy.
    pub(super) fn send_occupancy_to(&mut self, index: u32, key: &SubscriberKey) {
        let stream = self.streams.live_mut(index);
        let total = stream.state.presence().members();
        if let Some((_, known)) = &mut stream.last_occupancy
            && *known != Some(total)
        {
            *known = None;
        }
        self.reply(index, key, [ServerMessage::Occupancy(total)]);
    }

    /// The number of members changed: it is sent now, or when the interval is over.
    pub(super) fn occupancy_changed(&mut self, index: u32, now: Instant) {
        let interval = self.settings.occupancy_interval;
        let stream = self.streams.live_mut(index);
        if stream.occupancy_timer.is_some() || !stream.has_occupancy_watchers() {
            return;
        }
        match stream.last_occupancy.map(|(at, _)| at + interval).filter(|next| *next > now) {
            Some(next) => {
                let timer = Timer::Occupancy { stream: index };
                stream.occupancy_timer = Some(self.timers.add(next, timer));
            }
            None => self.send_occupancy(index, now),
        }
    }

    /// Sends the occupancy to everyone who watches it, unless they have it.
    pub(super) fn send_occupancy(&mut self, index: u32, now: Instant) {
        let stream = self.streams.live_mut(index);
        stream.occupancy_timer = None;
        let total = stream.state.presence().members();
        let is_news = stream.last_occupancy.is_none_or(|(_, known)| known != Some(total));
        if stream.has_occupancy_watchers() && is_news {
            stream.last_occupancy = Some((now, Some(total)));
            self.broadcast(
                index,
                Position(self.next.0.saturating_sub(1)),
                ServerMessage::Occupancy(total),
                None,
                now,
            );
        }
    }
}
