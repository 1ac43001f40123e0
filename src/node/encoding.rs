//! Batches and snapshots as bytes, for the engine.
//!
//! ```text
//! entry of a log:      frame │ rules, batch; or number of a fork │ seal
//! chunk of a snapshot: frame │ rules, parts                     │ seal
//! ```
//!
//! The seal is there if the cluster has a secret. What has no valid one is skipped by all nodes alike, whatever it is.

use bytes::Bytes;

use crate::auth::{ClusterSecret, SEAL_SIZE, Seal, Sealer, SnapshotSealer};
use crate::cluster::{Batch, ForkId, Item, KnownRules, Rules, SnapshotItem};
use crate::engine::Cursor;
use crate::log::{LogId, Position};
use crate::state::format;

/// What all begins with that nodes write.
const MAGIC: [u8; 3] = *b"brk";

/// Version of the encoding: the byte behind that.
const FORMAT: u8 = 1;

/// The same byte of a fork: the log goes on there without what nodes may have applied that are gone.
const FORK: u8 = 0;

/// Size of what is before the payload.
const FRAME: usize = MAGIC.len() + 1;

/// Maximum number of items of a batch: as many positions as one has.
const MAX_ITEMS: usize = 1 << POSITION_BITS;

/// Bits of a position that are the item's place in its batch.
const POSITION_BITS: u32 = 12;

/// Why bytes are no entry of a log, which all nodes skip then, or no part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// It is of another version.
    #[error("a newer version has written the format {0}: update this node")]
    Format(u8),
    /// It is written by rules that this version doesn't know.
    #[error("it is written by the rules {}, which this version doesn't know", .0.0)]
    Rules(Rules),
    /// It can't be decoded.
    #[error("it is damaged, or no node has written it")]
    Damaged,
    /// Its seal isn't one of this place.
    #[error("no node with the cluster's secret has written it here")]
    Forged,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// A batch.
    Batch(Batch),
    /// The log goes on without what nodes may have applied that are gone.
    Fork(ForkId),
}

/// The encoding of a log and its snapshots.
#[derive(Clone, Debug)]
pub struct LogEncoding {
    /// If the cluster has a secret.
    sealer: Option<Sealer>,
}

/// Encodes the chunks of a snapshot, one after the other.
#[derive(Debug)]
pub(super) struct SnapshotEncoder {
    rules: Rules,
    sealer: Option<SnapshotSealer>,
}

/// Checks the chunks of a snapshot, one after the other.
#[derive(Debug)]
pub(super) struct SnapshotCheck(Option<SnapshotSealer>);

/// The position of the first item of a batch.
pub(super) fn first_position(cursor: Cursor) -> Position {
    Position(cursor.0 << POSITION_BITS)
}

impl LogEncoding {
    /// Of a partition's log, with seals if the cluster has a secret.
    pub fn of(secret: Option<&ClusterSecret>, partition: u16, log: LogId) -> Self {
        Self { sealer: secret.map(|secret| secret.sealer(partition, log.0)) }
    }

    /// Encodes a batch.
    pub fn encode(&self, batch: &Batch) -> Bytes {
        // can't fail: postcard supports all types in a batch, and the buffer grows
        self.seal(postcard::to_extend(batch, frame(FORMAT)).unwrap_or_default())
    }

    /// Encodes where the log goes on without what nodes may have applied that are gone.
    pub fn encode_fork(&self, fork: ForkId) -> Bytes {
        self.seal([&frame(FORK)[..], &fork.0.to_be_bytes()].concat())
    }

    /// Decodes an entry of the log.
    pub fn decode(&self, bytes: &[u8]) -> Result<LogEntry, EncodingError> {
        let bytes = match &self.sealer {
            None => bytes,
            Some(sealer) => {
                let (bytes, seal) = split(bytes)?;
                if !sealer.is_sealed(bytes, seal) {
                    return Err(EncodingError::Forged);
                }
                bytes
            }
        };
        match open(bytes)? {
            (FORMAT, payload) => decode_batch(payload).map(LogEntry::Batch),
            (FORK, payload) => {
                let number = payload.try_into().map_err(|_| EncodingError::Damaged)?;
                Ok(LogEntry::Fork(ForkId(u64::from_be_bytes(number))))
            }
            (other, _) => Err(EncodingError::Format(other)),
        }
    }

    /// Begins a snapshot of all up to a batch, with the rules in force there.
    pub(super) fn begin_snapshot(&self, at: Cursor, rules: Rules) -> SnapshotEncoder {
        let sealer = self.sealer.as_ref().map(|sealer| sealer.snapshot(at.0));
        SnapshotEncoder { rules, sealer }
    }

    /// Begins to check a snapshot of all up to a batch.
    pub(super) fn check_snapshot(&self, at: Cursor) -> SnapshotCheck {
        SnapshotCheck(self.sealer.as_ref().map(|sealer| sealer.snapshot(at.0)))
    }

    /// Decodes a chunk of a snapshot that was checked.
    pub(super) fn decode_chunk(&self, chunk: &[u8]) -> Result<Vec<SnapshotItem>, EncodingError> {
        let chunk = if self.sealer.is_some() { split(chunk)?.0 } else { chunk };
        let payload = match open(chunk)? {
            (FORMAT, payload) => payload,
            (other, _) => return Err(EncodingError::Format(other)),
        };
        let (rules, payload) = postcard::take_from_bytes(payload)?;
        check(rules)?;
        let mut items: Vec<SnapshotItem> = postcard::from_bytes(payload)?;
        let is_sound = items.iter_mut().all(|item| match item {
            SnapshotItem::Entry(entry) => format::is_sound(&mut entry.change),
            SnapshotItem::Head(_) | SnapshotItem::Session(..) => true,
        });
        if is_sound { Ok(items) } else { Err(EncodingError::Damaged) }
    }

    fn seal(&self, mut bytes: Vec<u8>) -> Bytes {
        if let Some(sealer) = &self.sealer {
            let seal = sealer.seal(&bytes);
            bytes.extend(seal);
        }
        bytes.into()
    }
}

impl SnapshotEncoder {
    /// Encodes the next chunk.
    pub(super) fn encode(&mut self, items: &[SnapshotItem], is_last: bool) -> Bytes {
        let bytes = postcard::to_extend(&self.rules, frame(FORMAT)).unwrap_or_default(); // likewise
        let mut bytes = postcard::to_extend(items, bytes).unwrap_or_default();
        if let Some(sealer) = &mut self.sealer {
            let seal = sealer.seal(&bytes, is_last);
            bytes.extend(seal);
        }
        bytes.into()
    }
}

impl SnapshotCheck {
    /// Whether the next chunk is one that a node of the cluster has written as such.
    pub(super) fn check(&mut self, chunk: &[u8], is_last: bool) -> Result<(), EncodingError> {
        let Some(sealer) = &mut self.0 else { return Ok(()) };
        let (chunk, seal) = split(chunk)?;
        if sealer.is_sealed(chunk, is_last, seal) { Ok(()) } else { Err(EncodingError::Forged) }
    }
}

fn frame(format: u8) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend(MAGIC);
    frame.push(format);
    frame
}

/// Format and payload of what nodes have written.
fn open(bytes: &[u8]) -> Result<(u8, &[u8]), EncodingError> {
    let bytes = bytes.strip_prefix(&MAGIC).ok_or(EncodingError::Damaged)?;
    bytes.split_first().map(|(format, payload)| (*format, payload)).ok_or(EncodingError::Damaged)
}

/// What is sealed, and its seal.
fn split(bytes: &[u8]) -> Result<(&[u8], &Seal), EncodingError> {
    bytes.split_last_chunk::<SEAL_SIZE>().ok_or(EncodingError::Forged)
}

impl From<postcard::Error> for EncodingError {
    fn from(_: postcard::Error) -> Self {
        Self::Damaged
    }
}

fn check(rules: Rules) -> Result<(), EncodingError> {
    KnownRules::OWN.check(rules).map_err(|_| EncodingError::Rules(rules))
}

fn decode_batch(payload: &[u8]) -> Result<Batch, EncodingError> {
    let (rules, _) = postcard::take_from_bytes(payload)?; // the first field of a batch, whatever its rules
    check(rules)?;
    let (mut batch, rest): (Batch, _) = postcard::take_from_bytes(payload)?;
    let is_sound = batch.items.iter_mut().all(|item| match item {
        Item::Change(proposal) => format::is_sound(&mut proposal.change),
        Item::Beat { .. }
        | Item::Overdue { .. }
        | Item::Gone { .. }
        | Item::Ask { .. }
        | Item::Answer { .. }
        | Item::Digest(_)
        | Item::Rules(_)
        | Item::Session { .. } => true,
    });
    if !rest.is_empty() || batch.items.len() > MAX_ITEMS || !is_sound {
        return Err(EncodingError::Damaged);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::cluster::{Answer, Ask, AskId, Digest, Reading};
    use crate::log::NodeId;
    use crate::types::{Identity, Names, SessionId};

    const RULES: Rules = Rules(1);

    fn plain() -> LogEncoding {
        LogEncoding::of(None, 1, LogId(11))
    }

    fn encode(batch: &Batch) -> Bytes {
        plain().encode(batch)
    }

    fn decode(bytes: &[u8]) -> Result<LogEntry, EncodingError> {
        plain().decode(bytes)
    }

    fn item() -> impl Strategy<Value = Item> {
        let names = any::<(Option<u64>, Option<u64>)>();
        let disconnect = (names, any::<bool>(), reading()).prop_map(|(names, reconnect, after)| {
            let (identifier, presence_id) = names;
            Ask::Disconnect { names: Names { identifier, presence_id }, reconnect, after }
        });
        let release = any::<(u128, u64, u64)>().prop_map(|(session, identifier, presence_id)| {
            let session = SessionId::from_bits(session);
            Ask::Release { session, identity: Identity { identifier, presence_id } }
        });
        let ask = prop_oneof![disconnect, release];
        let of = prop::option::of(any::<u64>().prop_map(NodeId));
        let id =
            any::<(u64, u64)>().prop_map(|(node, number)| AskId { node: NodeId(node), number });
        prop_oneof![
            (any::<u64>(), of, ask).prop_map(|(number, of, ask)| Item::Ask { number, of, ask }),
            (id, any::<u64>(), reading()).prop_map(|(to, sessions, after)| {
                Item::Answer { to, answer: Answer { sessions, after } }
            }),
            any::<(u64, u64)>()
                .prop_map(|(of, hash)| Item::Digest(Digest { of: Position(of), hash })),
        ]
    }

    fn reading() -> impl Strategy<Value = Reading> {
        prop::collection::vec((any::<u16>(), any::<u64>().prop_map(Position)), 0..100)
    }

    proptest! {
        #[test]
        fn what_nodes_ask_and_answer_is_decoded(items in prop::collection::vec(item(), 0..4)) {
            let batch = Batch { rules: RULES, node: NodeId(3), incarnation: 1, number: 4, items };
            prop_assert_eq!(decode(&encode(&batch)), Ok(LogEntry::Batch(batch)));
        }
    }

    fn batch(items: usize) -> Batch {
        let items = vec![Item::Beat { interval: Duration::from_secs(2), knows: RULES }; items];
        Batch { rules: RULES, node: NodeId(3), incarnation: 1, number: 4, items }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        let bytes = encode(&batch(1));
        assert_eq!(decode(&bytes), Ok(LogEntry::Batch(batch(1))));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(EncodingError::Damaged));
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(EncodingError::Damaged));
        assert_eq!(decode(&encode(&batch(MAX_ITEMS + 1))), Err(EncodingError::Damaged));
        let fork = plain().encode_fork(ForkId(7));
        assert_eq!(decode(&fork), Ok(LogEntry::Fork(ForkId(7))));
        assert_eq!(decode(&fork[..fork.len() - 1]), Err(EncodingError::Damaged));
    }

    #[test]
    fn another_format_is_told_from_what_nobody_has_written() {
        let bytes = encode(&batch(1));
        let other = [&MAGIC[..], &[2], &bytes[FRAME..]].concat();
        assert_eq!(decode(&other), Err(EncodingError::Format(2)));
        let other = encode(&Batch { rules: Rules(300), ..batch(1) });
        assert_eq!(decode(&other), Err(EncodingError::Rules(Rules(300))));
        let other = plain().begin_snapshot(Cursor(7), Rules(300)).encode(&[], true);
        assert_eq!(plain().decode_chunk(&other), Err(EncodingError::Rules(Rules(300))));
        assert_eq!(decode(&[&[2], &bytes[1..]].concat()), Err(EncodingError::Damaged));
    }

    fn sealing(secret: &str, partition: u16) -> LogEncoding {
        LogEncoding::of(Some(&ClusterSecret::new(secret, "shop")), partition, LogId(11))
    }

    #[test]
    fn with_a_secret_only_what_its_nodes_wrote_here_is_decoded() {
        let own = sealing("s3cret", 1);
        let entries = [
            (own.encode(&batch(1)), LogEntry::Batch(batch(1))),
            (own.encode_fork(ForkId(7)), LogEntry::Fork(ForkId(7))),
        ];
        for (bytes, entry) in entries {
            assert_eq!(own.decode(&bytes), Ok(entry));
            for other in [sealing("s3cret", 2), sealing("other", 1)] {
                assert_eq!(other.decode(&bytes), Err(EncodingError::Forged));
            }
            for at in 0..bytes.len() {
                let mut altered = bytes.to_vec();
                altered[at] ^= 1;
                assert_eq!(own.decode(&altered), Err(EncodingError::Forged));
                assert_eq!(own.decode(&bytes[..at]), Err(EncodingError::Forged));
            }
        }
        assert_eq!(own.decode(&encode(&batch(1))), Err(EncodingError::Forged));
    }

    #[test]
    fn with_a_secret_only_whole_snapshots_of_its_nodes_are_read() {
        let own = sealing("s3cret", 1);
        let mut encoder = own.begin_snapshot(Cursor(7), RULES);
        let chunks = [encoder.encode(&[], false), encoder.encode(&[], true)];
        let check = |encoding: &LogEncoding, at: u64, chunks: &[Bytes]| {
            let mut check = encoding.check_snapshot(Cursor(at));
            let last = chunks.len() - 1;
            let mut chunks = chunks.iter().enumerate();
            chunks.try_for_each(|(number, chunk)| check.check(chunk, number == last))
        };
        assert_eq!(check(&own, 7, &chunks), Ok(()));
        assert_eq!(own.decode_chunk(&chunks[1]), Ok(Vec::new()));
        let [first, last] = &chunks;
        for other in [vec![first.clone()], vec![last.clone()], vec![last.clone(), first.clone()]] {
            assert_eq!(check(&own, 7, &other), Err(EncodingError::Forged));
        }
        assert_eq!(check(&own, 8, &chunks), Err(EncodingError::Forged));
        assert_eq!(check(&sealing("s3cret", 2), 7, &chunks), Err(EncodingError::Forged));
        let plain = plain().begin_snapshot(Cursor(7), RULES).encode(&[], true);
        assert_eq!(check(&own, 7, &[plain]), Err(EncodingError::Forged));
    }
}
