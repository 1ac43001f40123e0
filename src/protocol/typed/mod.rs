//! typed.

mod decode;
mod encode;

pub use decode::{decode, follow_default_room};
pub use encode::{encode, encode_connection};
