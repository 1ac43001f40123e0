//! What frames consist of.

use serde::{Deserialize, Serialize};

use crate::log::{Change, Entry, Owner, Position};
use crate::protocol;
use crate::types::{Codec, Extra};

/// A part of a file. Their order is on disk: a new kind goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A stream changed.
    Entry(Entry),
    /// All streams have been written since the file began: nothing before it counts any more.
    Complete {
        /// When the newest publication of a stream that isn't there was made, in milliseconds of
        /// the Unix epoch.
        forgotten: u64,
        /// The position after all entries before it, those of streams that aren't there included.
        next: Position,
    },
    /// The broker that wrote the file kept no publications: what was published meanwhile is in no
    /// history, and has no position.
    WithoutHistory,
    /// The broker stopped in good order; nothing follows.
    Closed,
}

/// The same, of an entry that needn't be copied to be written.
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
    // nothing that it can't express is in an item, and there is always room
    *out = postcard::to_extend(value, std::mem::take(out)).unwrap_or_default();
}

/// The items of a frame, if all of them are good.
pub(super) fn decode(mut payload: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    while !payload.is_empty() {
        if items.last() == Some(&Item::Closed) {
            return None;
        }
        let (mut item, rest) = postcard::take_from_bytes(payload).ok()?;
        if !is_sound(&item) {
            return None;
        }
        if let Item::Entry(Entry { change, .. }) = &mut item
            && let Some(codec) = codec_of(change)
        {
            *codec = protocol::codec(codec.number())?;
        }
        items.push(item);
        payload = rest;
    }
    Some(items)
}

/// Whether it is what a broker writes: what the application says of members are JSON objects, and
/// its records that expire do so at some time.
fn is_sound(item: &Item) -> bool {
    let Item::Entry(Entry { change, .. }) = item else { return true };
    if let Change::Record { owner: Owner::Application { until: Some(0) }, .. } = change {
        return false;
    }
    if let Change::Joined { extra, .. } | Change::Put { extra, .. } | Change::Record { extra, .. } =
        change
        && !is_object(extra)
    {
        return false;
    }
    true
}

/// The codec of a subscription, of which a file has only the number.
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
