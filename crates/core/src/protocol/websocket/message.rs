//! An incomplete message: in fragments, or in a frame whose end is missing.

use super::event::Violation;
use super::frame::Data;

/// An incomplete message.
#[derive(Debug)]
pub(super) enum Message {
    /// Text is kept.
    Text(Text),
    /// Binary data is skipped; this is its size.
    Binary(usize),
}

impl Message {
    /// An empty message, by the kind of its first frame.
    pub(super) const fn new(first: Data) -> Self {
        match first {
            Data::Binary => Self::Binary(0),
            Data::Text | Data::Continuation => Self::Text(Text { bytes: Vec::new(), valid: 0 }),
        }
    }

    /// Bytes received.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.bytes.len(),
            Self::Binary(skipped) => *skipped,
        }
    }

    /// Adds unmasked bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        match self {
            Self::Text(text) => text.push(bytes),
            Self::Binary(skipped) => {
                *skipped = skipped.saturating_add(bytes.len());
                Ok(())
            }
        }
    }
}

/// The received part of a text. The buffer grows with the received bytes, not to the announced length.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    /// Length of the part known to be UTF-8; up to three more bytes begin a character.
    valid: usize,
}

impl Text {
    /// Adds bytes; fails as soon as no continuation can make them UTF-8 (section 8.1).
    fn push(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.bytes.extend_from_slice(bytes);
        match std::str::from_utf8(self.bytes.get(self.valid..).unwrap_or_default()) {
            Ok(more) => self.valid += more.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::InvalidText),
        }
        Ok(())
    }

    /// The whole text, if it doesn't end within a character.
    pub(super) fn as_str(&self) -> Result<&str, Violation> {
        std::str::from_utf8(&self.bytes).map_err(|_| Violation::InvalidText)
    }

    /// Capacity of the buffer, in bytes.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
