//! The pieces of work that are timed by `benches/core.rs`, and whose instructions
//! `benches/instructions.rs` counts.

pub(crate) mod codecs;
mod expiry;
mod nowhere;
mod replica;
mod room;
mod settings;
pub(crate) mod work;
pub(crate) mod works;
