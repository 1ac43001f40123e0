//! Newtypes for names and ids, so that they can't be confused.

use std::fmt;
use std::sync::Arc;

use super::sharing;

macro_rules! shared_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, sharing memory with equal texts if possible.
            #[must_use]
            pub fn shared(text: &str) -> Self {
                Self(sharing::share(text))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.0)
            }
        }
    };
}

shared_text! {
    /// The name of a stream, the target of publications: a topic, a room. Never empty.
    StreamName
}

shared_text! {
    /// A client's key for one subscription, in the form its codec puts on the wire.
    ///
    /// For Action Cable that is a JSON string *token*, quotes and escapes included
    /// (`"{\"channel\":\"$pubsub\"}"`), in the one spelling `serde_json` gives a string: it is
    /// echoed in every frame, and copying it is ten times cheaper than escaping it again.
    Identifier
}

shared_text! {
    /// Presence id: the client's id for a user, who may have several sessions.
    PresenceId
}

shared_text! {
    /// Valid JSON, passed through byte for byte.
    RawJson
}

/// The application's data about a member, a JSON object. `None` takes eight bytes.
pub type Extra = Option<Box<RawJson>>;

/// The id of a session, which the client knows as its `sid`.
///
/// 128 random bits: it can't be guessed, so knowing it proves that the broker gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    // two halves: a `u128` would pad everything that contains it to sixteen bytes
    high: u64,
    low: u64,
}

impl SessionId {
    /// An id from 128 random bits.
    #[expect(clippy::cast_possible_truncation, reason = "each is one half")]
    pub const fn from_bits(bits: u128) -> Self {
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// Its bits.
    pub fn to_bits(self) -> u128 {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }

    /// Parses the [`fmt::Display`] form: 32 lowercase hexadecimal digits.
    ///
    /// ```
    /// use broker_core::types::SessionId;
    /// let id = SessionId::from_bits(42);
    /// assert_eq!(SessionId::parse(&id.to_string()), Some(id));
    /// assert_eq!(SessionId::parse("42"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = text.len() == 32
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if canonical { u128::from_str_radix(text, 16).ok().map(Self::from_bits) } else { None }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// Digests by which the application selects connections to close: either matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the token's identifiers.
    pub identifier: Option<u64>,
    /// Of the presence id from the token or the handshake.
    pub presence_id: Option<u64>,
}

/// A session's owner: digests of the identity in the client's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Of the token's identifiers.
    pub identifier: u64,
    /// Of the presence id that the token sets.
    pub presence_id: u64,
}

impl Identity {
    /// Anyone: there is no token, or it has no identity.
    pub const ANYONE: Self = Self { identifier: 0, presence_id: 0 };

    /// Whether one of these names selects it.
    pub fn goes_by(self, names: Names) -> bool {
        names.identifier == Some(self.identifier) || names.presence_id == Some(self.presence_id)
    }
}
