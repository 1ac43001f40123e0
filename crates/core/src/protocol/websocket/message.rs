//! A message that has come in part: over several frames, or in one whose end is missing.

use super::event::Violation;
use super::frame::Data;

/// What has come of a message.
#[derive(Debug)]
pub(super) enum Message {
    /// Text is kept.
    Text(Text),
    /// Binary is skipped; this is how much.
    Binary(usize),
}

impl Message {
    /// Nothing yet, of a message whose first frame is this.
    pub(super) const fn new(first: Data) -> Self {
        match first {
            Data::Binary => Self::Binary(0),
            Data::Text | Data::Continuation => Self::Text(Text { bytes: Vec::new(), valid: 0 }),
        }
    }

    /// How many bytes have come.
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

/// Text as far as it has come. The buffer grows with what comes, not with what is announced.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    /// Up to where the bytes are known to be UTF-8; at most three more begin a character.
    valid: usize,
}

impl Text {
    /// Adds bytes, and fails as soon as no continuation could make them UTF-8 (section 8.1).
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

    /// What the buffer costs.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
