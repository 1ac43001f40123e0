//! Asks the application what there is to say of those who join, beside the info that they give
//! themselves: a name, a picture's address. What it answers stands with the record.
//!
//! ```text
//! a join ─▶ Fetcher::ask ─▶ the task: known? ─ else ─▶ a request for all that wait ─▶ the application
//!        ◀─ what it says, or nothing when the time is over ◀─ kept for a while ◀──────┘
//! ```
//!
//! Nobody waits longer than the timeout, whatever the application does, and a join never fails for
//! it. It is asked before a join goes to its stream, so the streams never wait.

mod answer;
mod client;
mod fetcher;
mod lookup_queue;
mod task;

pub use client::Settings;
pub use fetcher::Fetcher;
