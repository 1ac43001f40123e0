//! Positions of publications in a stream's history.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One lifetime of a stream's history. Offsets of different epochs aren't comparable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    /// Part of a JSON string as it is, so nothing that would need an escape.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        let is_one = !text.is_empty() && text.bytes().all(is_plain);
        is_one.then(|| Self(text.into())).ok_or_else(|| D::Error::custom("not an epoch"))
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
#[derive(
    Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
pub struct Offset(pub u64);

/// The place of a publication in its stream's history. A [`log::Position`](crate::log::Position) is that of an entry in
/// a log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StreamPosition {
    /// The epoch.
    pub epoch: Epoch,
    /// The offset.
    pub offset: Offset,
}
