//! The pieces of work that are timed by `benches/core.rs`, and whose instructions
//! `benches/instructions.rs` counts.

pub(crate) mod codecs;
pub(crate) mod expiry;
pub(crate) mod room;
pub(crate) mod settings;
pub(crate) mod work;
