//! The batches that were delivered last, as bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::engine::recent::{Entry, Last, Recent};

/// Writes them, behind the batch before them.
pub(super) fn write(recent: &Recent) -> Bytes {
    let mut bytes = BytesMut::new();
    let Last { cursor, nonce } = recent.begin();
    bytes.put_u64(cursor);
    bytes.put_u64(nonce.unwrap_or(0));
    for Entry { cursor, nonce, at, batch } in recent.entries() {
        for number in [*cursor, *nonce, *at, batch.len() as u64] {
            bytes.put_u64(number);
        }
        bytes.put_slice(batch);
    }
    bytes.freeze()
}

/// Reads them, and the batch before them; `None`: they are damaged.
pub(super) fn read(mut bytes: Bytes) -> Option<(Last, Vec<Entry>)> {
    let cursor = bytes.try_get_u64().ok()?;
    let nonce = Some(bytes.try_get_u64().ok()?).filter(|nonce| *nonce != 0);
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let mut next = || bytes.try_get_u64().ok();
        let (cursor, nonce, at) = (next()?, next()?, next()?);
        let length = usize::try_from(next()?).ok().filter(|length| *length <= bytes.len())?;
        entries.push(Entry { cursor, nonce, at, batch: bytes.split_to(length) });
    }
    Some((Last { cursor, nonce }, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let mut recent = Recent::after(3);
        let entry =
            |cursor, batch| Entry { cursor, nonce: 7, at: 9, batch: Bytes::from_static(batch) };
        let entries = [entry(5, b"a b"), entry(6, b""), entry(9, b"c")];
        for entry in &entries {
            recent.push(entry.clone());
        }
        let bytes = write(&recent);
        let after = Last { cursor: 3, nonce: None };
        assert_eq!(read(bytes.clone()), Some((after, entries.to_vec())));
        let whole = [16, 16 + 32 + 3, 16 + 32 + 3 + 32];
        for length in 0..bytes.len() {
            assert_eq!(read(bytes.slice(..length)).is_some(), whole.contains(&length), "{length}");
        }
    }
}
