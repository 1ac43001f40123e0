//! The format of state files. Pure: reads and writes slices and readers.
//!
//! ```text
//! file    = header frame*
//! header  = "brokerst" version:u32 boot:u128 run:u64 shards:u32 shard:u32 generation:u64
//!           basis:u8 number:u64 length:u64 log:u64 crc:u32      (the crc is of all before it)
//! frame   = length:u64 crc:u32 check:u32 item*          (the crc is of the items, the check of
//!                                                        the twelve bytes before it)
//! item    = as postcard encodes it ([`Item`])
//!
//! mark    = generation:u64 length:u64 crc:u32           (a file of its own, written over)
//! ```
//!
//! Fixed numbers are little-endian, those within items are LEB128. A truncated file yields all whole
//! frames before the cut. Truncation can be told from damage, as a frame's length has its own checksum.
//! The mark tells whether the missing part had been committed.

mod frame;
mod header;
mod item;
mod mark;
#[cfg(test)]
mod tests;

pub use frame::{Fault, Reader, encode, encode_item};
pub use header::{Basis, Boot, Header, HeaderError, VERSION};
pub use item::{Item, is_sound};
pub use mark::Mark;

/// A file, as far as it can be read.
#[derive(Debug)]
pub struct Decoded {
    /// Its header.
    pub header: Header,
    /// The items of its whole frames.
    pub items: Vec<Item>,
    /// Length of its whole frames with the header, in bytes.
    pub length: u64,
    /// Why it can't be read to its end.
    pub fault: Option<Fault>,
}

/// Decodes a whole file. Bytes after the header never cause an error; see [`Decoded::fault`].
pub fn decode(file: &[u8]) -> Result<Decoded, HeaderError> {
    let mut reader = Reader::new(file)?;
    let (mut items, mut fault) = (Vec::new(), None);
    loop {
        match reader.read() {
            Ok(Some(frame)) => items.extend(frame),
            Ok(None) => break,
            Err(met) => {
                fault = Some(met);
                break;
            }
        }
    }
    Ok(Decoded { header: *reader.header(), items, length: reader.length(), fault })
}
