//! The core against a naive reference model, and against invariants.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and whatever else comes is a failure"
)]

mod conditions;
mod crowd;
mod digest;
mod door;
mod equal;
mod forgotten;
mod history;
mod hold;
mod joint;
mod journals;
mod names;
mod occupancy;
mod phoenix;
mod presence;
mod records;
mod reference;
mod replay;
mod replicas;
mod restore;
mod resume;
mod rooms;
mod seeds;
mod session;
mod shard;
mod shard_settings;
mod shared;
mod subscriber;
mod survey;
mod tickets;
mod turn;
