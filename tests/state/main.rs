//! State files: cut at every step, foreign or damaged, and on a full disk.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, whatever else comes is a failure, and files are real"
)]

mod crashes;
mod failing;
mod files;
mod restarts;
#[path = "../model/shard_settings.rs"]
mod shard_settings;
mod view;
