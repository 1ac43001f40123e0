//! The batches that were delivered last.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes of the batches of a partition that are kept, at most; the last one in any case.
const MAX_BYTES: usize = 256 * 1024;

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Entry {
    pub(in crate::engine) cursor: u64,
    /// Random: the same place in another log has another one.
    pub(in crate::engine) nonce: u64,
    /// The engine's time, in milliseconds of the Unix epoch.
    pub(in crate::engine) at: u64,
    pub(in crate::engine) batch: Bytes,
}

/// The batches that were delivered last: what the engine loses of them, other nodes may not have yet.
#[derive(Debug, Default)]
pub(in crate::engine) struct Recent {
    /// The batch before them.
    after: Last,
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// A batch that was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Last {
    pub(in crate::engine) cursor: u64,
    /// The entry's nonce, unless it isn't known.
    pub(in crate::engine) nonce: Option<u64>,
}

impl Recent {
    /// None yet behind a batch.
    pub(in crate::engine) fn after(cursor: u64) -> Self {
        Self { after: Last { cursor, nonce: None }, ..Self::default() }
    }

    /// The batch before the oldest one that is kept.
    pub(in crate::engine) fn begin(&self) -> Last {
        self.after
    }

    /// Keeps the next batch of the log.
    pub(in crate::engine) fn push(&mut self, entry: Entry) {
        self.bytes += entry.batch.len();
        self.entries.push_back(entry);
        while self.bytes > MAX_BYTES
            && self.entries.len() > 1
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.batch.len();
            self.after = Last { cursor: oldest.cursor, nonce: Some(oldest.nonce) };
        }
    }

    /// In the order of the log.
    pub(in crate::engine) fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(sizes: &[(u64, usize)]) -> (Last, Vec<u64>) {
        let mut recent = Recent::after(0);
        for (cursor, size) in sizes {
            let batch = vec![0; *size].into();
            recent.push(Entry { cursor: *cursor, nonce: 5, at: 1, batch });
        }
        (recent.begin(), recent.entries().map(|entry| entry.cursor).collect())
    }

    #[test]
    fn the_last_ones_are_kept_within_a_bound() {
        let first = Last { cursor: 1, nonce: Some(5) };
        assert_eq!(cursors(&[]), (Last::default(), vec![]));
        assert_eq!(cursors(&[(1, 9), (2, 9), (4, 9)]), (Last::default(), vec![1, 2, 4]));
        assert_eq!(cursors(&[(1, MAX_BYTES), (2, 9)]), (first, vec![2]));
        assert_eq!(cursors(&[(1, 9), (2, 2 * MAX_BYTES)]), (first, vec![2]));
    }
}
