//! Seals: what the nodes of a cluster write into an engine that others can write to.
//!
//! ```text
//! secret ─ name of the cluster ─▶ ClusterSecret ─ partition, log ─▶ Sealer ─ bytes ─▶ seal
//! ```
//!
//! Each arrow is an HMAC-SHA256, so a seal holds for one place only: what is moved to another partition, another log or
//! another cluster has no valid one there.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::keys;

/// Size of a seal, in bytes: a truncated HMAC-SHA256. Who guesses has one chance in 2^128, and is seen at each attempt.
pub const SEAL_SIZE: usize = 16;

/// A MAC of what a node has written.
pub type Seal = [u8; SEAL_SIZE];

/// Digits of a fingerprint.
const FINGERPRINT: usize = 16;

/// The secret that the nodes of a cluster share.
#[derive(Clone)]
pub struct ClusterSecret(String);

/// Seals what is written into a log, and its snapshots.
#[derive(Clone)]
pub struct Sealer {
    entries: Hmac<Sha256>,
    snapshots: Hmac<Sha256>,
}

/// Seals the chunks of a snapshot, one after the other: each with the one before, so that they can't change places, nor be
/// mixed with those of another snapshot, nor be missing.
#[derive(Clone)]
pub struct SnapshotSealer {
    mac: Hmac<Sha256>,
    /// Of the chunk before.
    before: Seal,
}

impl ClusterSecret {
    /// For the cluster of this name.
    pub fn new(secret: &str, cluster: &str) -> Self {
        Self(keys::derive(secret, &format!("cluster {cluster}")))
    }

    /// What tells it from other secrets, and doesn't tell it.
    pub fn fingerprint(&self) -> String {
        let mut text = keys::derive(&self.0, "fingerprint");
        text.truncate(FINGERPRINT);
        text
    }

    /// For a log with this identity, of this partition.
    pub fn sealer(&self, partition: u16, log: u64) -> Sealer {
        let mac = |kind: &str| hmac(&keys::derive(&self.0, &format!("{kind} {partition} {log}")));
        Sealer { entries: mac("entries"), snapshots: mac("snapshots") }
    }
}

impl Sealer {
    /// Seals an entry of the log.
    pub fn seal(&self, entry: &[u8]) -> Seal {
        seal(self.entries.clone().chain_update(entry))
    }

    /// Whether a node with the secret has written an entry for this log.
    pub fn is_sealed(&self, entry: &[u8], seal: &Seal) -> bool {
        verify(self.entries.clone().chain_update(entry), seal)
    }

    /// For a snapshot that has all up to a cursor.
    pub fn snapshot(&self, cursor: u64) -> SnapshotSealer {
        let mac = self.snapshots.clone().chain_update(cursor.to_be_bytes());
        SnapshotSealer { mac, before: Seal::default() }
    }
}

impl SnapshotSealer {
    /// Seals the next chunk.
    pub fn seal(&mut self, chunk: &[u8], is_last: bool) -> Seal {
        let seal = seal(self.next(chunk, is_last));
        self.before = seal;
        seal
    }

    /// Whether a node with the secret has written a chunk as the next one.
    pub fn is_sealed(&mut self, chunk: &[u8], is_last: bool, seal: &Seal) -> bool {
        let is_sealed = verify(self.next(chunk, is_last), seal);
        self.before = *seal;
        is_sealed
    }

    fn next(&self, chunk: &[u8], is_last: bool) -> Hmac<Sha256> {
        self.mac
            .clone()
            .chain_update(self.before)
            .chain_update([u8::from(is_last)])
            .chain_update(chunk)
    }
}

fn hmac(key: &str) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length")
}

fn seal(mac: Hmac<Sha256>) -> Seal {
    let tag = mac.finalize().into_bytes();
    let mut seal = Seal::default();
    seal.iter_mut().zip(tag).for_each(|(byte, of_tag)| *byte = of_tag);
    seal
}

fn verify(mac: Hmac<Sha256>, seal: &Seal) -> bool {
    mac.verify_truncated_left(seal).is_ok() // in constant time
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(not shown)")
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(not shown)")
    }
}

impl fmt::Debug for SnapshotSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotSealer(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(secret: &str, cluster: &str, partition: u16, log: u64) -> Sealer {
        ClusterSecret::new(secret, cluster).sealer(partition, log)
    }

    #[test]
    fn a_seal_holds_for_one_entry_in_one_place() {
        let here = sealer("s3cret", "shop", 1, 11);
        let seal = here.seal(b"entry");
        assert!(sealer("s3cret", "shop", 1, 11).is_sealed(b"entry", &seal));
        assert!(
            !here.is_sealed(b"entrx", &seal) && !here.is_sealed(b"entry", &here.seal(b"other"))
        );
        let elsewhere = [
            sealer("s3cret", "shop", 2, 11),
            sealer("s3cret", "shop", 1, 12),
            sealer("s3cret", "shop", 11, 1),
            sealer("s3cret", "shops", 1, 11),
            sealer("secret", "shop", 1, 11),
        ];
        assert!(elsewhere.iter().all(|other| !other.is_sealed(b"entry", &seal)));
        for at in 0..SEAL_SIZE {
            let mut altered = seal;
            altered[at] ^= 1;
            assert!(!here.is_sealed(b"entry", &altered));
        }
    }

    #[test]
    fn an_entry_is_no_chunk_of_a_snapshot() {
        let own = sealer("s3cret", "shop", 1, 11);
        let chunk = [&7_u64.to_be_bytes()[..], &Seal::default(), &[1], b"chunk"].concat();
        let seal = own.seal(&chunk);
        assert!(!own.snapshot(7).is_sealed(b"chunk", true, &seal));
    }

    /// Whether these chunks, with their seals, are a snapshot.
    fn is_snapshot(sealer: &Sealer, cursor: u64, chunks: &[(&str, Seal)]) -> bool {
        let mut snapshot = sealer.snapshot(cursor);
        let last = chunks.len() - 1;
        chunks
            .iter()
            .enumerate()
            .all(|(at, (chunk, seal))| snapshot.is_sealed(chunk.as_bytes(), at == last, seal))
    }

    #[test]
    fn a_snapshot_holds_as_a_whole_only() {
        let own = sealer("s3cret", "shop", 1, 11);
        let written = |chunks: [&'static str; 3]| {
            let mut snapshot = own.snapshot(7);
            let last = chunks[2];
            chunks.map(|chunk| (chunk, snapshot.seal(chunk.as_bytes(), chunk == last)))
        };
        let [a, b, c] = written(["a", "b", "c"]);
        assert!(is_snapshot(&own, 7, &[a, b, c]));
        assert!(!is_snapshot(&own, 8, &[a, b, c]), "of another place in the log");
        let [other, ..] = written(["A", "b", "c"]);
        let broken: [&[_]; 7] =
            [&[a, b], &[b, c], &[a, c], &[a, c, b], &[a, b, b, c], &[other, b, c], &[c]];
        for chunks in broken {
            assert!(!is_snapshot(&own, 7, chunks), "{chunks:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = ClusterSecret::new("s3cret", "shop");
        let fingerprint = secret.fingerprint();
        assert_eq!((fingerprint.len(), secret.fingerprint()), (FINGERPRINT, fingerprint.clone()));
        assert_ne!(ClusterSecret::new("s3cret", "other").fingerprint(), fingerprint);
        let shown = format!("{secret:?} {:?}", secret.sealer(1, 2));
        assert!(!shown.contains("s3cret") && !shown.contains(&secret.0), "{shown}");
    }
}
