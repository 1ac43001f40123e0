//! Entries of a log, as messages have them.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::log::LogId;

/// First byte of an entry that has its batch.
const BATCH: u8 = 1;

/// First byte of an entry that names the parts of its batch.
const PARTS: u8 = 2;

/// Bytes of an entry besides its batch.
pub(super) const OVERHEAD: usize = 17;

/// An entry of a log, as a message has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The log that it was appended to.
    pub(super) log: LogId,
    /// Random: the same place in another log has another one.
    pub(super) nonce: u64,
    pub(super) body: Body,
}

/// What an entry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The batch.
    Batch(Bytes),
    /// Sequence numbers of the batch's parts.
    Parts(Vec<u64>),
}

impl Envelope {
    /// From a message; `None`: no broker has written it.
    pub(super) fn read(mut message: Bytes) -> Option<Self> {
        let kind = message.try_get_u8().ok()?;
        let log = LogId(message.try_get_u64().ok()?);
        let nonce = message.try_get_u64().ok()?;
        let body = match kind {
            BATCH => Body::Batch(message),
            PARTS if message.len().is_multiple_of(size_of::<u64>()) => {
                let mut parts = Vec::with_capacity(message.len() / size_of::<u64>());
                while let Ok(part) = message.try_get_u64() {
                    parts.push(part);
                }
                Body::Parts(parts)
            }
            _ => return None,
        };
        Some(Self { log, nonce, body })
    }

    pub(super) fn write(&self) -> Bytes {
        let (kind, length) = match &self.body {
            Body::Batch(batch) => (BATCH, batch.len()),
            Body::Parts(parts) => (PARTS, size_of_val(parts.as_slice())),
        };
        let mut message = BytesMut::with_capacity(OVERHEAD + length);
        message.put_u8(kind);
        message.put_u64(self.log.0);
        message.put_u64(self.nonce);
        match &self.body {
            Body::Batch(batch) => message.put_slice(batch),
            Body::Parts(parts) => parts.iter().for_each(|part| message.put_u64(*part)),
        }
        message.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for body in [Body::Batch("a b".into()), Body::Batch(Bytes::new()), Body::Parts(vec![1, 9])]
        {
            let entry = Envelope { log: LogId(5), nonce: u64::MAX, body };
            let message = entry.write();
            assert_eq!(Envelope::read(message.clone()), Some(entry));
            for length in 0..OVERHEAD {
                assert_eq!(Envelope::read(message.slice(..length)), None);
            }
        }
        let parts = Envelope { log: LogId(5), nonce: 1, body: Body::Parts(vec![1]) }.write();
        assert_eq!(Envelope::read(parts.slice(..parts.len() - 1)), None);
        assert_eq!(Envelope::read([&[3], &parts[1..]].concat().into()), None);
    }
}
