//! Messages of a stream that aren't sent to all subscribers yet.
//!
//! Places number all messages; each subscriber has a place, and messages before all of these are dropped.
//! Not every message has an entry of its own: an occupancy message has the position of the entry before.

use std::collections::VecDeque;

use crate::log::Position;
use crate::types::ServerMessage;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// Place of the first message.
    start: u64,
    messages: VecDeque<(Position, ServerMessage)>,
    /// Bytes of the messages.
    weight: usize,
}

impl Window {
    /// Place of the first message: nobody needs those before it.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Place after the last message, where a new subscriber begins.
    pub(super) fn end(&self) -> u64 {
        self.start + self.messages.len() as u64
    }

    /// Bytes of the messages.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn push(&mut self, position: Position, message: ServerMessage) {
        self.weight += message.weight();
        self.messages.push_back((position, message));
    }

    /// The messages from one place up to another.
    pub(super) fn range(
        &self,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = &(Position, ServerMessage)> {
        let held =
            |place: u64| usize::try_from(place.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.messages.iter().take(held(to)).skip(held(from))
    }

    /// Drops the messages before a place.
    pub(super) fn trim(&mut self, to: u64) {
        while self.start < to
            && let Some((_, message)) = self.messages.pop_front()
        {
            self.start += 1;
            self.weight -= message.weight();
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new(); // a burst's capacity isn't kept
        }
    }
}
