//! Frames: what is written at once and read whole or not at all.

use std::io::{self, Read};

use super::header::{self, Fields, Header, HeaderError};
use super::item::{self, Item};
use crate::log::Entry;

/// How long a frame's header is, in bytes.
const LENGTH: usize = 8 + 4 + 4;

/// A frame takes no more entries once it is this long. A turn that fits is read whole or not at
/// all.
const FRAME: usize = 1024 * 1024;

/// Why there are no more frames though the file goes on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It ends within a frame: what wrote it was cut off there.
    #[error("it ends within an entry")]
    Short,
    /// What is there was not written so.
    #[error("it is damaged")]
    Damaged,
    /// The system can't read it.
    #[error("it can't be read: {0}")]
    Unreadable(io::Error),
}

/// Appends frames with the entries, in order.
///
/// ```
/// use broker::log::{Change, Entry, LogId, Origin, Position};
/// use broker::state::format::{Basis, Boot, Header, Item, decode, encode};
/// let (boot, basis, log) = (Boot::from_bits(7), Basis::Nothing, LogId(5));
/// let header = Header { boot, run: 1, shards: 2, shard: 0, generation: 1, basis, log };
/// let (stream, origin) = ("room".into(), Origin::default());
/// let change = Change::Forgotten { lost: 0 };
/// let entry = Entry { position: Position(9), at: 1_700_000_000_000, origin, stream, change };
/// let mut file = header.encode();
/// encode([&entry], &mut file);
/// let decoded = decode(&file)?;
/// assert_eq!(decoded.items, [Item::Entry(entry)]);
/// # Ok::<(), broker::state::format::HeaderError>(())
/// ```
pub fn encode<'a>(entries: impl IntoIterator<Item = &'a Entry>, out: &mut Vec<u8>) {
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        framed(out, |out| {
            let start = out.len();
            while out.len() - start < FRAME
                && let Some(entry) = entries.next()
            {
                item::encode_entry(entry, out);
            }
        });
    }
}

/// Appends a frame with an item: a mark.
pub fn encode_mark(item: &Item, out: &mut Vec<u8>) {
    framed(out, |out| item::encode(item, out));
}

/// Reads a file frame by frame.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    header: Header,
    length: u64,
    closed: bool,
    payload: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub fn new(mut source: R) -> Result<Self, HeaderError> {
        let mut bytes = Vec::with_capacity(header::LENGTH);
        let read = source.by_ref().take(header::LENGTH as u64).read_to_end(&mut bytes);
        read.map_err(HeaderError::Unreadable)?;
        let header = Header::decode(&bytes)?;
        let length = header::LENGTH as u64;
        Ok(Self { source, header, length, closed: false, payload: Vec::new() })
    }

    /// What the file is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How far it has been read, in bytes: to the end of the last whole frame.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next frame's items; none at the end. After a fault there is nothing more to read.
    ///
    /// What is taken from memory is bounded by what is there to read, whatever a frame says of its
    /// length.
    pub fn read(&mut self) -> Result<Option<Vec<Item>>, Fault> {
        if !self.fill(LENGTH as u64)? {
            return Ok(None);
        }
        let (length, crc) = about(&self.payload).ok_or(Fault::Damaged)?;
        if self.closed || length == 0 {
            return Err(Fault::Damaged);
        }
        if !self.fill(length)? {
            return Err(Fault::Short);
        }
        if crc != crc32fast::hash(&self.payload) {
            return Err(Fault::Damaged);
        }
        let items = item::decode(&self.payload).ok_or(Fault::Damaged)?;
        self.closed = items.last() == Some(&Item::Closed);
        self.length = self.length.saturating_add(LENGTH as u64).saturating_add(length);
        Ok(Some(items))
    }

    /// How much memory it holds, in bytes.
    #[cfg(test)]
    pub(super) fn buffer(&self) -> usize {
        self.payload.capacity()
    }

    /// Reads that many bytes into the buffer; `false` at the file's end.
    fn fill(&mut self, length: u64) -> Result<bool, Fault> {
        self.payload.clear();
        let read = self.source.by_ref().take(length).read_to_end(&mut self.payload);
        match read.map_err(Fault::Unreadable)? as u64 {
            0 => Ok(false),
            read if read < length => Err(Fault::Short),
            _ => Ok(true),
        }
    }
}

/// A payload's length and CRC, if its frame's header is whole.
fn about(header: &[u8]) -> Option<(u64, u32)> {
    let (checked, check) = header.split_at_checked(LENGTH - 4)?;
    let mut fields = Fields(checked);
    let about = (u64::from_le_bytes(fields.array()?), u32::from_le_bytes(fields.array()?));
    (check == crc32fast::hash(checked).to_le_bytes()).then_some(about)
}

/// Appends one frame with what `write` appends.
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; LENGTH]);
    write(out);
    let Some((header, payload)) = out.get_mut(start..).and_then(|f| f.split_at_mut_checked(LENGTH))
    else {
        return;
    };
    let mut fields = (payload.len() as u64).to_le_bytes().to_vec();
    fields.extend(crc32fast::hash(payload).to_le_bytes());
    fields.extend(crc32fast::hash(&fields).to_le_bytes());
    header.copy_from_slice(&fields);
}
