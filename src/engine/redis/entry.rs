//! Entries of a log, as Redis has and publishes them.

use bytes::Bytes;
use redis::Value;

use crate::engine::recent::Entry;
use crate::log::LogId;

impl Entry {
    /// From a message, as [`scripts`](super::scripts) publish it: `cursor-nonce at round batch`.
    pub(super) fn from_message(message: Vec<u8>) -> Option<(u64, Self)> {
        let mut message = Bytes::from(message);
        let mut next = || {
            let end = memchr::memchr(b' ', &message)?;
            let word = message.split_to(end);
            drop(message.split_to(1));
            Some(word)
        };
        let (id, at, round) = (next()?, next()?, next()?);
        let (cursor, nonce) = split_id(&id)?;
        let round = number(&round)?;
        Some((round, Self { cursor, nonce, at: number(&at)?, batch: message }))
    }

    /// From an entry of a stream: `[id, [field, value, …]]`. If no broker has written its fields, it is no batch.
    pub(super) fn from_stream(value: Value) -> Option<Self> {
        let Value::Array(parts) = value else { return None };
        let [id, fields] = <[Value; 2]>::try_from(parts).ok()?;
        let (cursor, nonce) = split_id(&bytes(id)?)?;
        let (at, batch) = read_fields(fields).unwrap_or_default();
        Some(Self { cursor, nonce, at, batch })
    }

    /// The answer to XRANGE.
    pub(super) fn all_from_stream(value: Value) -> Option<Vec<Self>> {
        let Value::Array(entries) = value else { return None };
        entries.into_iter().map(Self::from_stream).collect()
    }
}

/// The time and the batch.
fn read_fields(fields: Value) -> Option<(u64, Bytes)> {
    let Value::Array(fields) = fields else { return None };
    let [_, at, _, batch] = <[Value; 4]>::try_from(fields).ok()?;
    Some((number(&bytes(at)?)?, bytes(batch)?.into()))
}

fn split_id(id: &[u8]) -> Option<(u64, u64)> {
    let at = memchr::memchr(b'-', id)?;
    Some((number(id.get(..at)?)?, number(id.get(at + 1..)?)?))
}

/// The identity of a log, from its text.
pub(super) fn log_id(text: &[u8]) -> Option<LogId> {
    number(text).map(LogId)
}

/// A number, from its text.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The bytes of a text.
pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read() {
        let (round, entry) = Entry::from_message(b"7-99 1700 5 a b".to_vec()).unwrap();
        let batch = Bytes::from_static(b"a b");
        assert_eq!((round, entry), (5, Entry { cursor: 7, nonce: 99, at: 1700, batch }));
        for broken in ["", "7-99 1700 5", "7 1700 5 a", "x-1 1 1 a", "1-1 1 x a"] {
            assert_eq!(Entry::from_message(broken.into()), None, "{broken}");
        }
    }

    #[test]
    fn an_entry_that_no_broker_wrote_is_no_batch() {
        let text = |text: &str| Value::BulkString(text.into());
        let entry = |fields: &[&str]| {
            let fields = fields.iter().map(|field| text(field)).collect();
            Entry::from_stream(Value::Array(vec![text("7-99"), Value::Array(fields)]))
        };
        let read = |at, batch: &'static str| {
            Some(Entry { cursor: 7, nonce: 99, at, batch: batch.as_bytes().into() })
        };
        assert_eq!(entry(&["t", "1700", "b", "a b"]), read(1700, "a b"));
        for fields in [&["x", "y"][..], &["t", "soon", "b", "a"]] {
            assert_eq!(entry(fields), read(0, ""));
        }
    }
}
