//! Newtypes for the things that are named, so that one can't be passed for another.

use std::fmt;
use std::sync::Arc;

use super::sharing;

macro_rules! shared_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, if possible in the memory where others have it already.
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
    /// A named target of publications: a topic, a room. Any text but the empty one.
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
    /// Who is present: what the client calls a user, whatever number of sessions they have.
    PresenceId
}

shared_text! {
    /// Valid JSON that passes through as the bytes it came in.
    RawJson
}

/// What the application says of a member beside its info: a JSON object, if it says anything. Eight
/// bytes where it doesn't.
pub type Extra = Option<Box<RawJson>>;

/// One client's connection state, known to the client as its `sid`.
///
/// 128 random bits: it can't be guessed, so knowing one is proof of having been told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    // two halves, as a `u128` has everything that holds one padded to sixteen bytes
    high: u64,
    low: u64,
}

impl SessionId {
    /// Makes an id of 128 random bits.
    #[expect(clippy::cast_possible_truncation, reason = "each is one half")]
    pub const fn from_bits(bits: u128) -> Self {
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// The bits it was made of.
    pub fn to_bits(self) -> u128 {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }

    /// Reads the form [`fmt::Display`] writes: 32 lowercase hexadecimal digits.
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

/// What the application calls those whose connections it ends, as digests: whoever goes by one of
/// these is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the identifiers the application gave them.
    pub identifier: Option<u64>,
    /// Of the presence id that their token or their handshake gave them.
    pub presence_id: Option<u64>,
}

/// Whom a session was given to: a digest of what the client's token says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Of the identifiers the application gave the connection.
    pub identifier: u64,
    /// Of the presence id it is bound to.
    pub presence_id: u64,
}

impl Identity {
    /// Anyone: the token, if there was one, says nothing about who it is.
    pub const ANYONE: Self = Self { identifier: 0, presence_id: 0 };

    /// Whether whoever it is goes by one of these names.
    pub fn goes_by(self, names: Names) -> bool {
        names.identifier == Some(self.identifier) || names.presence_id == Some(self.presence_id)
    }
}
