//! The batches that were delivered last.

use std::collections::VecDeque;

use super::entry::Entry;

/// Bytes of the batches of a partition that are kept, at most; the last one in any case.
const MAX_BYTES: usize = 256 * 1024;

/// The batches that were delivered last, without gaps: what Redis loses of them, other nodes may not have yet.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.back().is_some_and(|last| last.cursor + 1 != entry.cursor) {
            *self = Self::default();
        }
        self.bytes += entry.batch.len();
        self.entries.push_back(entry);
        while self.bytes > MAX_BYTES
            && self.entries.len() > 1
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.batch.len();
        }
    }

    /// In the order of the log.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(sizes: &[(u64, usize)]) -> Vec<u64> {
        let mut recent = Recent::default();
        for (cursor, size) in sizes {
            let batch = vec![0; *size].into();
            recent.push(Entry { cursor: *cursor, nonce: 1, at: 1, batch });
        }
        recent.entries().map(|entry| entry.cursor).collect()
    }

    #[test]
    fn the_last_ones_are_kept_without_gaps_and_within_a_bound() {
        assert_eq!(cursors(&[(1, 9), (2, 9), (3, 9)]), [1, 2, 3]);
        assert_eq!(cursors(&[(1, 9), (2, 9), (7, 9), (8, 9)]), [7, 8]);
        assert_eq!(cursors(&[(1, MAX_BYTES), (2, 9)]), [2]);
        assert_eq!(cursors(&[(1, 9), (2, 2 * MAX_BYTES)]), [2]);
    }
}
