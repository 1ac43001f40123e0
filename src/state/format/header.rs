//! What a file begins with.

use std::io;

use crate::log::LogId;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 4;

const MAGIC: &[u8; 8] = b"brokerst";

/// How long it is, in bytes.
pub(super) const LENGTH: usize = 8 + 4 + 16 + 8 + 4 + 4 + 8 + 1 + 8 + 8 + 8 + 4;

/// One run of the machine, from power on to off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot(u128);

impl Boot {
    /// A boot by its number.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// A boot that can't be told from others: it is equal to none, itself included.
    pub const UNKNOWN: Self = Self(0);

    /// Whether both are surely the same.
    pub fn is_same(self, other: Self) -> bool {
        self == other && self != Self::UNKNOWN
    }
}

/// What a file is and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The machine's run in which it was written.
    pub boot: Boot,
    /// The broker's run, counted up in the directory.
    pub run: u64,
    /// How many shards that run has.
    pub shards: u32,
    /// Whose it is, from 0.
    pub shard: u32,
    /// Which of the shard's files in that run it is, counted up.
    pub generation: u64,
    /// What its entries come on top of.
    pub basis: Basis,
    /// The log that its entries belong to.
    pub log: LogId,
}

/// What came before a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Nothing at all: the file is complete from its first byte.
    Nothing,
    /// The files of earlier runs.
    Runs,
    /// An earlier file of the same shard and run, as it was at this length.
    Generation {
        /// Which.
        number: u64,
        /// How long it was, in bytes, when nothing more was written to it.
        length: u64,
    },
    /// Something that is no longer known.
    Lost,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It ends within its header: it was just being made.
    #[error("it ends within its first bytes")]
    Short,
    /// Something else has this name.
    #[error("it is not a state file")]
    Foreign,
    /// An earlier version of the broker wrote it.
    #[error("an earlier version of the broker wrote it (format {0}, this one reads {VERSION})")]
    Older(u32),
    /// A later version of the broker wrote it.
    #[error("a newer version of the broker wrote it (format {0}, this one reads {VERSION})")]
    Newer(u32),
    /// It changed after it was written.
    #[error("its first bytes are damaged")]
    Damaged,
    /// The system can't read it.
    #[error("it can't be read: {0}")]
    Unreadable(io::Error),
}

impl Header {
    /// The bytes a file begins with.
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

    /// Reads what [`Self::encode`] writes; what follows it is left.
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

/// What is left of some bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
