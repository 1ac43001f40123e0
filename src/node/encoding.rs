//! Batches and snapshots as bytes, for the engine.

use bytes::Bytes;

use crate::cluster::{Batch, Item, SnapshotItem};
use crate::engine::Cursor;
use crate::log::Position;
use crate::state::format;

/// Version of the encoding: the first byte.
const FORMAT: u8 = 1;

/// What is in a log where it goes on without what nodes may have applied that are gone. No batch begins with it.
pub const FORK: &[u8] = &[0];

/// Maximum number of items of a batch: as many positions as one has.
const MAX_ITEMS: usize = 1 << POSITION_BITS;

/// Bits of a position that are the item's place in its batch.
const POSITION_BITS: u32 = 12;

/// Why bytes are no batch, which all nodes skip then, or no part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodingError {
    #[error(
        "its format is {0}, this version knows {FORMAT}: the node that appended it has another version"
    )]
    Format(u8),
    #[error("it is damaged, or no node has appended it")]
    Damaged,
}

/// The position of the first item of a batch.
pub(super) fn first_position(cursor: Cursor) -> Position {
    Position(cursor.0 << POSITION_BITS)
}

/// Encodes a batch.
pub(super) fn encode(batch: &Batch) -> Bytes {
    // can't fail: postcard supports all types in a batch, and the buffer grows
    postcard::to_extend(batch, vec![FORMAT]).unwrap_or_default().into()
}

/// Encodes a part of a snapshot.
pub(super) fn encode_snapshot(items: &[SnapshotItem]) -> Bytes {
    postcard::to_extend(items, vec![FORMAT]).unwrap_or_default().into() // likewise
}

/// Decodes a part of a snapshot.
pub(super) fn decode_snapshot(bytes: &[u8]) -> Result<Vec<SnapshotItem>, EncodingError> {
    let mut items: Vec<SnapshotItem> = postcard::from_bytes(payload(bytes)?)?;
    let is_sound = items.iter_mut().all(|item| match item {
        SnapshotItem::Entry(entry) => format::is_sound(&mut entry.change),
        SnapshotItem::Head(_) => true,
    });
    if is_sound { Ok(items) } else { Err(EncodingError::Damaged) }
}

fn payload(bytes: &[u8]) -> Result<&[u8], EncodingError> {
    let (format, payload) = bytes.split_first().ok_or(EncodingError::Damaged)?;
    if *format == FORMAT { Ok(payload) } else { Err(EncodingError::Format(*format)) }
}

impl From<postcard::Error> for EncodingError {
    fn from(_: postcard::Error) -> Self {
        Self::Damaged
    }
}

/// Decodes a batch.
pub(super) fn decode(bytes: &[u8]) -> Result<Batch, EncodingError> {
    let (mut batch, rest): (Batch, _) = postcard::take_from_bytes(payload(bytes)?)?;
    let is_sound = batch.items.iter_mut().all(|item| match item {
        Item::Change(proposal) => format::is_sound(&mut proposal.change),
        Item::Beat { .. }
        | Item::Overdue { .. }
        | Item::Gone { .. }
        | Item::Ask { .. }
        | Item::Answer { .. } => true,
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
    use crate::cluster::{Answer, Ask, AskId, Reading};
    use crate::log::NodeId;
    use crate::types::{Identity, Names, SessionId};

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
        ]
    }

    fn reading() -> impl Strategy<Value = Reading> {
        prop::collection::vec((any::<u16>(), any::<u64>().prop_map(Position)), 0..100)
    }

    proptest! {
        #[test]
        fn what_nodes_ask_and_answer_is_decoded(items in prop::collection::vec(item(), 0..4)) {
            let batch = Batch { node: NodeId(3), incarnation: 1, number: 4, items };
            prop_assert_eq!(decode(&encode(&batch)), Ok(batch));
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        let items = vec![Item::Beat { interval: Duration::from_secs(2) }];
        let batch = Batch { node: NodeId(3), incarnation: 1, number: 4, items };
        let bytes = encode(&batch);
        assert_eq!(decode(&bytes).as_ref(), Ok(&batch));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Err(EncodingError::Damaged));
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(EncodingError::Damaged));
        assert_eq!(decode(&[&[2], &bytes[1..]].concat()), Err(EncodingError::Format(2)));
        let items = vec![batch.items[0].clone(); MAX_ITEMS + 1];
        assert_eq!(decode(&encode(&Batch { items, ..batch })), Err(EncodingError::Damaged));
    }
}
