//! What outlives the process.

pub mod format;
