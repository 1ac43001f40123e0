//! Digests of what replicas agree on. They are the same on every node, so nothing in them is seeded.

use crate::log::Subscription;

/// Digest of a set: the sum of its items' digests. It doesn't depend on their order, and changes by what is
/// added or removed. A sum rather than an exclusive or, in which two equal items would cancel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(pub(super) u64);

impl Sum {
    pub(super) const fn add(&mut self, item: u64) {
        self.0 = self.0.wrapping_add(item);
    }

    pub(super) const fn remove(&mut self, item: u64) {
        self.0 = self.0.wrapping_sub(item);
    }
}

/// Mixes two numbers into one hash.
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    let a = a.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let b = (b ^ a.rotate_left(29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (b ^ (b >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Digest of a text.
pub(super) fn of_text(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut digest = text.len() as u64;
    for word in words {
        digest = mix(digest, u64::from_le_bytes(*word));
    }
    mix(digest, rest.iter().rfold(0, |word, byte| word << 8 | u64::from(*byte)))
}

/// Digest of a subscription's key.
pub(super) fn of_subscription(by: &Subscription) -> u64 {
    let [high, low] = by.session.halves();
    mix(mix(high, low), of_text(by.identifier.as_str()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_differ_in_any_byte_and_in_length() {
        let mut all = HashSet::new();
        for length in 0..40 {
            let text = "\0".repeat(length);
            assert!(all.insert(of_text(&text)), "{length} bytes");
            for at in 0..length {
                let text = format!("{}a{}", "\0".repeat(at), "\0".repeat(length - at - 1));
                assert!(all.insert(of_text(&text)), "byte {at} of {length}");
            }
        }
    }

    #[test]
    fn a_digest_is_the_same_in_every_process() {
        assert_eq!(of_text("\"{\\\"channel\\\":\\\"$pubsub\\\"}\""), 9_069_739_526_967_326_071);
    }
}
