//! Fetches the application's data about joining members, such as a name or a picture's URL. The data are
//! stored in the record, beside the client's own info.
//!
//! ```text
//! a join ─▶ Fetcher::ask ─▶ the task: cached? ─ else ─▶ one request for all queued ids ─▶ the application
//!        ◀─ the data; nothing after the timeout ◀─ cached for a while ◀──────────────────┘
//! ```
//!
//! A join waits no longer than the timeout, and never fails because of the application. The fetch comes
//! before the join is sent to its stream, so streams never wait.

mod answer;
mod client;
mod fetcher;
mod lookup_queue;
mod task;

pub use client::Settings;
pub use fetcher::Fetcher;
