//! Positions of publications in a stream's history.

use std::fmt;
use std::sync::Arc;

/// One lifetime of a stream's history. Offsets of different epochs aren't comparable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Epoch {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a publication within its epoch, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Offset(pub u64);

/// A position in a stream's history.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// The epoch.
    pub epoch: Epoch,
    /// The offset.
    pub offset: Offset,
}
