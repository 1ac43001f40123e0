//! Marks: the committed length of a shard's log, in a file beside it.
//!
//! A log that lost its end looks like one whose writing a crash interrupted. The mark tells the two
//! apart.

use super::header::Fields;

/// Length of a mark, in bytes.
const LENGTH: usize = 8 + 8 + 4;

/// End of a shard's log at its last commit. Later marks are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Generation of the last file.
    pub generation: u64,
    /// Length of that file, in bytes.
    pub length: u64,
}

impl Mark {
    /// Encodes the mark.
    pub fn encode(self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        let (fields, check) = out.split_at_mut(LENGTH - 4);
        let (generation, length) = fields.split_at_mut(8);
        generation.copy_from_slice(&self.generation.to_le_bytes());
        length.copy_from_slice(&self.length.to_le_bytes());
        check.copy_from_slice(&crc32fast::hash(fields).to_le_bytes());
        out
    }

    /// Decodes a mark; `None` if it isn't valid.
    pub fn decode(file: &[u8]) -> Option<Self> {
        let mut fields = Fields(file);
        let mark = Self {
            generation: u64::from_le_bytes(fields.array()?),
            length: u64::from_le_bytes(fields.array()?),
        };
        (mark.encode() == file).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_whole_or_not_at_all() {
        let mark = Mark { generation: 3, length: 9_000_000_000 };
        let bytes = mark.encode();
        assert_eq!(Mark::decode(&bytes), Some(mark));
        for at in 0..LENGTH {
            assert_eq!(Mark::decode(&bytes[..at]), None, "{at}");
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_eq!(Mark::decode(&changed), None, "{at}");
        }
        assert_eq!(Mark::decode(&[&bytes[..], &[0]].concat()), None);
    }
}
