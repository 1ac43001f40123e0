//! Secrets shared with the application, and HMACs with them.

use std::fmt;
use std::sync::Arc;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

/// The secrets for one purpose, at least one. The first signs and all verify, so a secret can be
/// replaced while signatures by the old one are in use.
#[derive(Clone)]
pub struct Keys(Arc<[Box<[u8]>]>);

/// Hash functions for HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Keys {
    /// Keys of these secrets; `None` if there are none.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let keys: Arc<[Box<[u8]>]> = secrets.into_iter().map(|key| key.as_bytes().into()).collect();
        if keys.is_empty() { None } else { Some(Self(keys)) }
    }

    /// Whether `tag` is the message's HMAC with one of the secrets.
    pub(super) fn verify(&self, hash: Hash, message: &[u8], tag: &[u8]) -> bool {
        let verify = match hash {
            Hash::Sha256 => is_tag::<Hmac<Sha256>>,
            Hash::Sha384 => is_tag::<Hmac<Sha384>>,
            Hash::Sha512 => is_tag::<Hmac<Sha512>>,
        };
        self.0.iter().any(|key| verify(key, message, tag))
    }

    /// The message's HMAC-SHA256 with the first secret, in hexadecimal.
    pub fn sign(&self, message: &str) -> String {
        self.0.first().map_or_else(String::new, |key| hex_hmac(key, message))
    }

    /// Whether `tag` is [`Self::sign`]'s result with one of the secrets.
    pub fn is_signed(&self, message: &str, tag: &str) -> bool {
        self.0.iter().any(|key| same(hex_hmac(key, message).as_bytes(), tag.as_bytes()))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} not shown)", self.0.len())
    }
}

/// The key for one purpose, derived from a secret: the hexadecimal HMAC-SHA256 of the purpose's
/// name.
///
/// ```
/// let key = broker_core::auth::derive("s3Krit", "broadcast-cable");
/// assert_eq!(key.len(), 64);
/// assert_ne!(key, broker_core::auth::derive("s3Krit", "api-cable"));
/// ```
pub fn derive(secret: &str, purpose: &str) -> String {
    hex_hmac(secret.as_bytes(), purpose)
}

/// Whether two keys are equal, in a time that depends on their lengths only.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn is_tag<M: Mac + KeyInit>(key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    let mac = <M as Mac>::new_from_slice(key);
    mac.is_ok_and(|mac| mac.chain_update(message).verify_slice(tag).is_ok())
}

#[cfg(test)]
pub(super) fn verifies(key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    is_tag::<Hmac<Sha256>>(key, message, tag)
}

fn hex_hmac(key: &[u8], message: &str) -> String {
    let Ok(mac) = <Hmac<Sha256> as Mac>::new_from_slice(key) else {
        return String::new(); // HMAC takes keys of any length
    };
    let tag = mac.chain_update(message).finalize().into_bytes();
    tag.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(hex_digit).collect()
}

fn hex_digit(digit: u8) -> Option<char> {
    char::from_digit(digit.into(), 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_are_those_of_anycable() {
        // printf broadcast-cable | openssl dgst -sha256 -hmac qwerty
        assert_eq!(
            derive("qwerty", "broadcast-cable"),
            "42923a28b760e667fc92f7c6123bb07a282822b329dd2ef48e7aee7830d98485"
        );
        assert_eq!(
            derive("qwerty", "api-cable"),
            "bdd0244b3664404d03b7d0c2f1b946dc4fc6c13fdcbfa2be62a4a28deb04d096"
        );
    }

    #[test]
    fn every_secret_verifies_and_the_first_signs() {
        let (old, new) = (Keys::new(["old"]).unwrap(), Keys::new(["new"]).unwrap());
        let both = Keys::new(["new", "old"]).unwrap();
        assert_eq!(both.sign("x"), new.sign("x"));
        assert!(both.is_signed("x", &old.sign("x")) && both.is_signed("x", &new.sign("x")));
        assert!(!new.is_signed("x", &old.sign("x")));
        assert!(!both.is_signed("x", "") && !both.is_signed("y", &new.sign("x")));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", Keys::new(["s3cret", "older"])), "Some(Keys(2 not shown))");
        assert!(Keys::new([]).is_none());
    }
}
