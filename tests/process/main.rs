//! The real binary and the files shipped with it.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and processes live in real time"
)]

mod cluster;
mod config;
mod metrics;
mod redis;
mod secrets;
mod stopping;
mod support;
