//! What a stream has said and not every subscriber has been sent yet.
//!
//! Positions count everything ever appended; each subscriber is a position in the log, and
//! whatever lies behind every subscriber is dropped.

use std::collections::VecDeque;

use crate::types::ServerMessage;

#[derive(Debug, Default)]
pub(super) struct Log {
    /// Position of the first message held.
    start: u64,
    messages: VecDeque<ServerMessage>,
    /// What the messages held weigh, in bytes.
    weight: usize,
}

impl Log {
    /// The position of the first message held: everyone has what is before, or isn't told it.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The position behind the last message: where a new subscriber begins.
    pub(super) fn end(&self) -> u64 {
        self.start + self.messages.len() as u64
    }

    /// What the messages held weigh, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn push(&mut self, message: ServerMessage) {
        self.weight += message.weight();
        self.messages.push_back(message);
    }

    /// The messages from one position up to another.
    pub(super) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &ServerMessage> {
        let held = |position: u64| {
            usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX)
        };
        self.messages.iter().take(held(to)).skip(held(from))
    }

    /// Forgets everything before a position.
    pub(super) fn trim(&mut self, to: u64) {
        while self.start < to
            && let Some(message) = self.messages.pop_front()
        {
            self.start += 1;
            self.weight -= message.weight();
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new(); // a burst's capacity isn't kept
        }
    }
}
