//! The bytes of a state file. Pure: from and to slices, and anything that reads.
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
//! Fixed numbers are little-endian, those within items are LEB128. What is cut off anywhere reads
//! as all whole frames before the cut, and a cut can be told from damage: a frame's length has a
//! check of its own. Whether anyone had been told what was cut off is what the mark knows.

mod frame;
mod header;
mod item;
mod mark;
#[cfg(test)]
mod tests;

pub use frame::{Fault, Reader, encode, encode_mark};
pub use header::{Basis, Boot, Header, HeaderError, VERSION};
pub use item::Item;
pub use mark::Mark;

/// A file, as far as it can be read.
#[derive(Debug)]
pub struct Decoded {
    /// What it is.
    pub header: Header,
    /// What its whole frames hold.
    pub items: Vec<Item>,
    /// How far it can be read, in bytes.
    pub length: u64,
    /// Why not to its end.
    pub fault: Option<Fault>,
}

/// Reads a whole file. Never fails for what follows the header, however hostile: see
/// [`Decoded::fault`].
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
