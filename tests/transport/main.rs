//! Connections, heartbeat and shards over pipes in memory, in paused time.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod client;
mod parts;
mod pipe;
#[path = "../model/shard_settings.rs"]
mod shard_settings;

mod closing;
mod connecting;
mod events;
mod limits;
mod liveness;
mod observing;
mod pings;
mod polling;
mod pressure;
mod reader;
mod resuming;
mod slow;
mod ttl;
