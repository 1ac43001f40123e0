//! `broker-bench` against the real broker, and against servers that do wrong.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and processes live in real time"
)]

mod cluster;
mod faults;
mod refusals;
mod scenarios;
mod support;
