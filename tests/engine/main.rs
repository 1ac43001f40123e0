//! The engine against real Redis servers that the tests start, kill, pause and empty.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and servers live in real time"
)]

mod access;
mod cost;
mod faults;
mod following;
mod log;
mod losses;
mod node;
mod recovery;
mod sentinel;
mod server;
mod snapshots;
mod tls;
