//! How much of a shard's log has been written, kept beside it.
//!
//! A log that lost its end looks like one that a crash ended there, so what it should hold is said
//! elsewhere.

use super::header::Fields;

/// How long it is, in bytes.
const LENGTH: usize = 8 + 8 + 4;

/// How far a shard's log reached when anyone was last told of it. Of two, the larger is the later
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The file that was written to.
    pub generation: u64,
    /// How long it was, in bytes.
    pub length: u64,
}

impl Mark {
    /// The bytes of its file.
    pub fn encode(self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        let (fields, check) = out.split_at_mut(LENGTH - 4);
        let (generation, length) = fields.split_at_mut(8);
        generation.copy_from_slice(&self.generation.to_le_bytes());
        length.copy_from_slice(&self.length.to_le_bytes());
        check.copy_from_slice(&crc32fast::hash(fields).to_le_bytes());
        out
    }

    /// Reads what [`Self::encode`] gives; none if it is anything else.
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
