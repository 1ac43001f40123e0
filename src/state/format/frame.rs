//! Frames: the units of a write, read whole or not at all.

use std::io::{self, Read};

use super::header::{self, Fields, Header, HeaderError};
use super::item::{self, Item};
use crate::log::Entry;

/// Length of a frame's header, in bytes.
const LENGTH: usize = 8 + 4 + 4;

/// Length from which on a frame takes no more entries, in bytes. A turn that fits is one frame.
const FRAME: usize = 1024 * 1024;

/// Why reading stopped before the end of the file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file ends within a frame: a write was interrupted.
    #[error("it ends within an entry")]
    Short,
    /// A checksum or the content of a frame is wrong.
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
/// let change = Change::Began { lost: 0 };
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

/// Appends a frame with one item.
pub fn encode_item(item: &Item, out: &mut Vec<u8>) {
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

    /// The file's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes read so far, up to the end of the last whole frame.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next frame's items; `None` at the end. Don't read on after a fault.
    ///
    /// Memory is bounded by the size of the source, whatever length a frame declares.
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

    /// Capacity of its buffer, in bytes.
    #[cfg(test)]
    pub(super) fn buffer(&self) -> usize {
        self.payload.capacity()
    }

    /// Reads `length` bytes into the buffer; `false` at the end of the file.
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

/// A payload's length and CRC, if the frame's header is valid.
fn about(header: &[u8]) -> Option<(u64, u32)> {
    let (checked, check) = header.split_at_checked(LENGTH - 4)?;
    let mut fields = Fields(checked);
    let about = (u64::from_le_bytes(fields.array()?), u32::from_le_bytes(fields.array()?));
    (check == crc32fast::hash(checked).to_le_bytes()).then_some(about)
}

/// Appends one frame; `write` appends its payload.
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
