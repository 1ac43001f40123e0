//! A reader's state while a frame or message is incomplete; allocated only then.

use super::event::Violation;
use super::frame::{Frame, MAX_HEADER};
use super::message::Message;

/// A header and the bytes after it, or nothing if it isn't complete.
pub(super) type Header<'b> = Result<Option<(Frame, &'b mut [u8])>, Violation>;

/// A reader's state between two calls.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The start of a header.
    pub(super) stub: Stub,
    /// The frame whose payload is incomplete.
    pub(super) frame: Option<Frame>,
    /// Received payload of that frame, unmasked, if it is a control frame.
    pub(super) control: Vec<u8>,
    /// The incomplete message; includes the received payload of that frame, if it is a data frame.
    pub(super) message: Option<Message>,
    /// Bytes after the event at which the sink broke.
    pub(super) unread: Unread,
    /// A violation or a close was reported; nothing else will be.
    pub(super) ended: bool,
}

/// The start of a header, `len` bytes of it.
#[derive(Debug, Default)]
pub(super) struct Stub {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

/// Received bytes; those from `at` on are unprocessed.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    at: usize,
}

impl Progress {
    /// Whether a frame or a message is incomplete.
    pub(super) const fn is_partial(&self) -> bool {
        !self.stub.is_empty() || self.frame.is_some() || self.message.is_some()
    }
}

impl Stub {
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Continues a header. Bytes of the payload may be copied along; the payload begins after the header's
    /// length, of which `before` bytes were received earlier.
    #[cold]
    pub(super) fn complete<'b>(&mut self, bytes: &'b mut [u8]) -> Header<'b> {
        let before = self.len;
        for (slot, &byte) in self.bytes.iter_mut().skip(before).zip(bytes.iter()) {
            *slot = byte;
            self.len += 1;
        }
        let known = self.bytes.get(..self.len).unwrap_or_default();
        let Some((frame, size)) = Frame::parse(known)? else { return Ok(None) };
        self.len = 0;
        Ok(Some((frame, bytes.split_at_mut(size - before).1)))
    }
}

impl Unread {
    pub(super) const fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn rest(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.at..).unwrap_or_default()
    }

    /// Marks all but the last `rest` bytes as processed.
    pub(super) fn leave(&mut self, rest: usize) {
        self.at = self.bytes.len().saturating_sub(rest);
    }

    /// Adds bytes. Processed bytes are dropped once they are the larger part, so that a byte moves a bounded
    /// number of times.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dealt_with_makes_room_for_what_comes() {
        let mut unread = Unread::default();
        unread.push(&[0, 1, 2]);
        for round in 0..1000_u16 {
            let numbers = |from: u16| [0, 1, 2, 3].map(|n| (from + n).to_be_bytes()[1]);
            unread.push(&numbers(round)[3..]);
            assert_eq!(unread.rest(), numbers(round));
            unread.leave(3);
            assert_eq!(unread.rest(), &numbers(round)[1..]);
            assert!(unread.bytes.len() <= 8, "{}", unread.bytes.len());
        }
    }
}
