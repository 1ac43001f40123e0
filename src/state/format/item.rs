//! Items: the parts of a frame.

use serde::{Deserialize, Serialize};

use crate::log::{Change, Entry, Owner, Position, SessionChange};
use crate::protocol;
use crate::types::{Codec, Extra};

/// A part of a frame. Files number the variants in this order: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// An entry of the log.
    Entry(Entry),
    /// End of a snapshot: the file has all streams, so earlier files are no longer needed.
    Complete {
        /// Time of the newest publication of a forgotten stream, in milliseconds of the Unix epoch.
        forgotten: u64,
        /// The position after all earlier entries, including those of forgotten streams.
        next: Position,
    },
    /// The run kept no publications, so its publications have no position and are in no history.
    WithoutHistory,
    /// The broker stopped cleanly; nothing follows.
    Closed,
    /// A change of what the application knows of a session.
    Session(SessionChange),
}

/// [`Item::Entry`] by reference, to encode it without a copy.
#[derive(Serialize)]
enum Written<'a> {
    Entry(&'a Entry),
}

/// Appends an entry.
pub(super) fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    append(&Written::Entry(entry), out);
}

/// Appends an item.
pub(super) fn encode(item: &Item, out: &mut Vec<u8>) {
    append(item, out);
}

fn append(value: &impl Serialize, out: &mut Vec<u8>) {
    // can't fail: postcard supports all types in an item, and the buffer grows
    *out = postcard::to_extend(value, std::mem::take(out)).unwrap_or_default();
}

/// The items of a frame, if all of them are valid.
pub(super) fn decode(mut payload: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    while !payload.is_empty() {
        if items.last() == Some(&Item::Closed) {
            return None;
        }
        let (mut item, rest) = postcard::take_from_bytes(payload).ok()?;
        if let Item::Entry(entry) = &mut item
            && !is_sound(&mut entry.change)
        {
            return None;
        }
        items.push(item);
        payload = rest;
    }
    Some(items)
}

/// Whether a change satisfies what decoding doesn't check: the application's data are JSON objects, its
/// expiry times aren't 0, and its codec, of which only the number is stored, is known; it is set then.
pub fn is_sound(change: &mut Change) -> bool {
    if let Change::Record { owner: Owner::Application { until: Some(0) }, .. } = change {
        return false;
    }
    if let Change::Joined { extra, .. } | Change::Put { extra, .. } | Change::Record { extra, .. } =
        change
        && !is_object(extra)
    {
        return false;
    }
    let Some(codec) = codec_of(change) else { return true };
    let known = protocol::codec(codec.number());
    known.inspect(|known| *codec = *known).is_some()
}

/// A change's codec.
fn codec_of(change: &mut Change) -> Option<&mut Codec> {
    if let Change::Subscribed { codec, .. } | Change::Resumable { codec, .. } = change {
        return Some(codec);
    }
    if let Change::Ended { parking: Some(parking), .. } = change {
        return Some(&mut parking.codec);
    }
    None
}

fn is_object(extra: &Extra) -> bool {
    extra.as_ref().is_none_or(|json| json.as_str().starts_with('{') && json.as_str().ends_with('}'))
}
