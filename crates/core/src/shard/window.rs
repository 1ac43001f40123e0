//! What a stream has said and not every subscriber has been sent yet.
//!
//! Places count everything ever said; each subscriber is at a place, and what lies behind every
//! subscriber is dropped. Not all that is said is of an entry of its own: how many members there are is
//! said of the entry before.

use std::collections::VecDeque;

use crate::log::Position;
use crate::types::ServerMessage;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// Place of the first message held.
    start: u64,
    messages: VecDeque<(Position, ServerMessage)>,
    /// What the messages held weigh, in bytes.
    weight: usize,
}

impl Window {
    /// The place of the first message held: everyone has what is before, or isn't told it.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The place behind the last message: where a new subscriber begins.
    pub(super) fn end(&self) -> u64 {
        self.start + self.messages.len() as u64
    }

    /// What the messages held weigh, in bytes.
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

    /// Forgets everything before a place.
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
