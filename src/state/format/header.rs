//! The header of a state file.

use std::io;

use crate::log::LogId;

/// Format version. Only this version is read.
pub const VERSION: u32 = 5;

const MAGIC: &[u8; 8] = b"brokerst";

/// Length of a header, in bytes.
pub(super) const LENGTH: usize = 8 + 4 + 16 + 8 + 4 + 4 + 8 + 1 + 8 + 8 + 8 + 4;

/// One boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot(u128);

impl Boot {
    /// A boot by its number.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// An unknown boot; [`Self::is_same`] is false for it.
    pub const UNKNOWN: Self = Self(0);

    /// Whether both are known and the same.
    pub fn is_same(self, other: Self) -> bool {
        self == other && self != Self::UNKNOWN
    }
}

/// A file's header: its place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The boot in which it was written.
    pub boot: Boot,
    /// Number of the run; each run has a higher one.
    pub run: u64,
    /// Number of shards in that run.
    pub shards: u32,
    /// The shard, from 0.
    pub shard: u32,
    /// Number of the file among the shard's files of that run, from 1.
    pub generation: u64,
    /// What it extends.
    pub basis: Basis,
    /// The log that its entries belong to.
    pub log: LogId,
}

/// What a file extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Nothing: the file is complete by itself.
    Nothing,
    /// The files of earlier runs.
    Runs,
    /// An earlier file of the same shard and run.
    Generation {
        /// Its generation.
        number: u64,
        /// Its final length, in bytes.
        length: u64,
    },
    /// Files that were removed after an error.
    Lost,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It ends within its header: interrupted while it was created.
    #[error("it ends within its first bytes")]
    Short,
    /// It isn't a state file.
    #[error("it is not a state file")]
    Foreign,
    /// An earlier version of the broker wrote it.
    #[error("an earlier version of the broker wrote it (format {0}, this one reads {VERSION})")]
    Older(u32),
    /// A later version of the broker wrote it.
    #[error("a newer version of the broker wrote it (format {0}, this one reads {VERSION})")]
    Newer(u32),
    /// Its checksum is wrong.
    #[error("its first bytes are damaged")]
    Damaged,
    /// The system can't read it.
    #[error("it can't be read: {0}")]
    Unreadable(io::Error),
}

impl Header {
    /// Encodes the header.
    pub fn encode(&self) -> Vec<u8> {
        let (basis, number, length) = match self.basis {
            Basis::Nothing => (0, 0, 0),
            Basis::Runs => (1, 0, 0),
            Basis::Generation { number, length } => (2, number, length),
            Basis::Lost => (3, 0, 0),
        };
        let mut out = Vec::with_capacity(LENGTH);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.boot.0.to_le_bytes());
        out.extend(self.run.to_le_bytes());
        out.extend(self.shards.to_le_bytes());
        out.extend(self.shard.to_le_bytes());
        out.extend(self.generation.to_le_bytes());
        out.push(basis);
        out.extend(u64::to_le_bytes(number));
        out.extend(u64::to_le_bytes(length));
        out.extend(self.log.0.to_le_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Decodes a header; further bytes are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let begins_like_one = bytes.iter().zip(MAGIC).all(|(byte, magic)| byte == magic);
        if !begins_like_one {
            return Err(HeaderError::Foreign);
        }
        let mut fields = Fields(bytes.get(MAGIC.len()..).ok_or(HeaderError::Short)?);
        let version = u32::from_le_bytes(fields.array().ok_or(HeaderError::Short)?);
        match version {
            0 => return Err(HeaderError::Damaged),
            1..VERSION => return Err(HeaderError::Older(version)),
            VERSION => {}
            newer => return Err(HeaderError::Newer(newer)),
        }
        let whole = bytes.get(..LENGTH).ok_or(HeaderError::Short)?;
        let (checked, crc) = whole.split_at(LENGTH - 4);
        if crc != crc32fast::hash(checked).to_le_bytes() {
            return Err(HeaderError::Damaged);
        }
        Self::fields(&mut fields)
            .filter(|header| header.shard < header.shards)
            .ok_or(HeaderError::Damaged)
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            boot: Boot(u128::from_le_bytes(fields.array()?)),
            run: u64::from_le_bytes(fields.array()?),
            shards: u32::from_le_bytes(fields.array()?),
            shard: u32::from_le_bytes(fields.array()?),
            generation: u64::from_le_bytes(fields.array()?),
            basis: {
                let [tag] = fields.array()?;
                let number = u64::from_le_bytes(fields.array()?);
                let length = u64::from_le_bytes(fields.array()?);
                match (tag, number, length) {
                    (0, 0, 0) => Basis::Nothing,
                    (1, 0, 0) => Basis::Runs,
                    (2, ..) => Basis::Generation { number, length },
                    (3, 0, 0) => Basis::Lost,
                    _ => return None,
                }
            },
            log: LogId(u64::from_le_bytes(fields.array()?)),
        })
    }
}

/// A reader of fixed-size fields; holds the remaining bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
