//! The engines against real servers, of Redis and of NATS, that the tests start, kill, pause and empty.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and servers live in real time"
)]

#[path = "../process/support.rs"]
mod process;

mod access;
mod cost;
mod engines;
mod faults;
mod following;
mod log;
mod losses;
mod nats_access;
mod nats_cluster;
mod nats_creds;
mod nats_faults;
mod nats_losses;
mod nats_purge;
mod nats_recovery;
mod nats_server;
mod nats_snapshots;
mod nats_tls;
mod node;
mod recovery;
mod redis_cluster;
mod rules;
mod secret;
mod sentinel;
mod server;
mod sharding;
mod snapshots;
mod tls;
mod tunnel;
