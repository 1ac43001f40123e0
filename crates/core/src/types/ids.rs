//! Newtypes for names and ids, so that they can't be confused.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sharing;

macro_rules! shared_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
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

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let check: fn(&str) -> bool = $check;
                let text = <&str>::deserialize(deserializer)?;
                let wrong = || D::Error::custom(concat!("not a ", stringify!($name)));
                check(text).then(|| Self(text.into())).ok_or_else(wrong)
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
    StreamName,
    |text| !text.is_empty()
}

shared_text! {
    /// A client's key for one subscription, in the form its codec puts on the wire.
    ///
    /// For Action Cable that is a JSON string *token*, quotes and escapes included
    /// (`"{\"channel\":\"$pubsub\"}"`), in the one spelling `serde_json` gives a string: it is
    /// echoed in every frame, and copying it is ten times cheaper than escaping it again.
    Identifier,
    is_token
}

shared_text! {
    /// Presence id: the client's id for a user, who may have several sessions.
    PresenceId,
    |text| !text.is_empty()
}

shared_text! {
    /// Valid JSON, passed through byte for byte.
    RawJson,
    |text| serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether a text is a JSON string in the spelling of `serde_json`: it escapes only what has to be escaped, and in the
/// shortest way. Each entry of a shared log has one, so that isn't found by spelling it anew.
fn is_token(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let Some(mut rest) = inner.map(str::as_bytes) else { return false };
    loop {
        rest = match rest {
            [] => return true,
            // control characters have a number, unless they have a letter
            [b'\\', b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..]
            | [b'\\', b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', rest @ ..]
            | [b'\\', b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', rest @ ..]
            | [b' '..=b'!' | b'#'..=b'[' | b']'.., rest @ ..] => rest,
            [_, ..] => return false,
        };
    }
}

/// The application's data about a member, a JSON object. `None` takes eight bytes.
pub type Extra = Option<Box<RawJson>>;

/// The id of a session, which the client knows as its `sid`.
///
/// 128 random bits: it can't be guessed, so knowing it proves that the broker gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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

    /// An id from the two halves of its bits.
    pub(crate) const fn from_halves([high, low]: [u64; 2]) -> Self {
        Self { high, low }
    }

    /// The two halves of its bits.
    pub(crate) const fn halves(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// What a session's ids have in common, whatever it goes on under: 16 random bits.
    #[expect(clippy::cast_possible_truncation, reason = "they are the lowest ones")]
    pub const fn lineage(self) -> u16 {
        self.low as u16
    }

    /// An id for the same session, which has gone by another one.
    #[must_use]
    pub const fn succeeding(self, other: Self) -> Self {
        Self { high: self.high, low: self.low & !0xffff | other.low & 0xffff }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Of the token's identifiers.
    pub identifier: Option<u64>,
    /// Of the presence id from the token or the handshake.
    pub presence_id: Option<u64>,
}

/// Stands for the presence id of clients that the application connected: their tokens set none. Accidental
/// collisions with a digest are negligible.
const APPLICATION: u64 = u64::from_be_bytes(*b"rpc-conn");

/// A session's owner: digests of the identity in the client's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Of the token's identifiers.
    pub identifier: u64,
    /// Of the presence id that the token sets.
    pub presence_id: u64,
}

impl Identity {
    /// Anyone: there is no token, or it has no identity.
    pub const ANYONE: Self = Self { identifier: 0, presence_id: 0 };

    /// A client without a token, which resumes the session of a client that the application connected: its sid is
    /// all it has.
    pub const BEARER: Self = Self { identifier: 0, presence_id: APPLICATION };

    /// Owner of a session that the application connected, with these identifiers.
    #[must_use]
    pub const fn by_application(self) -> Self {
        Self { presence_id: APPLICATION, ..self }
    }

    /// Whether a client may resume a session of this owner.
    pub fn may_be_resumed_by(self, client: Self) -> bool {
        client == self || (client == Self::BEARER && self.presence_id == APPLICATION)
    }

    /// Whether one of these names selects it.
    pub fn goes_by(self, names: Names) -> bool {
        names.identifier == Some(self.identifier) || names.presence_id == Some(self.presence_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a token is.
    fn is_spelled_so(text: &str) -> bool {
        let value: Result<String, _> = serde_json::from_str(text);
        value.and_then(|value| serde_json::to_string(&value)).is_ok_and(|token| token == text)
    }

    proptest! {
        #[test]
        fn tokens_are_what_serde_json_writes(value in any::<String>()) {
            prop_assert!(is_token(&serde_json::to_string(&value).unwrap()));
        }

        #[test]
        fn nothing_else_is_a_token(text in r#"["\\u/0-9a-fAFnrt\x00-\x20é]{0,12}"#) {
            for text in [format!("\"{text}\""), format!("\"\\{text}\""), text] {
                prop_assert_eq!(is_token(&text), is_spelled_so(&text), "{}", text);
            }
        }
    }

    #[test]
    fn every_character_has_one_spelling() {
        for code in u8::MIN..=u8::MAX {
            let character = char::from(code);
            let plain = format!("\"{character}\"");
            let escaped = format!("\"\\{character}\"");
            let numbered = [format!("\"\\u{code:04x}\""), format!("\"\\u{code:04X}\"")];
            for text in numbered.into_iter().chain([plain, escaped]) {
                assert_eq!(is_token(&text), is_spelled_so(&text), "{text}");
            }
        }
    }
}
