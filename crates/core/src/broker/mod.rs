//! The core: what a set of streams holds and whom it tells what. Pure: time comes in, deliveries
//! come out, and nothing here waits, locks or reads a clock.
//!
//! ```text
//! handle(stream, input, now) ─▶ Stream ─▶ presence changes ─▶ its log
//! poll_reply()   ◀─ what one subscriber is told, after what it hadn't been sent of the log
//! poll_fan_out() ◀─ what a slice of a group's subscribers hasn't been sent yet
//! poll_timeout(), handle_timeout(now) ─▶ records whose TTL ran out
//! ```

mod counts;
mod deadlines;
mod delivery;
mod history;
mod input;
mod journal;
mod list;
mod log;
mod pages;
mod presence;
mod repeating;
mod shard;
mod stream;

pub use crate::types::GroupKey;
pub use counts::{Counts, Totals};
pub use delivery::{CountRecords, Delivery, Destination, FanOut};
pub use history::HistorySettings;
pub use input::{End, Input, SubscriberKey};
pub use shard::{
    Attendee, Full, Placed, Put, Restoring, ResumeSettings, Settings, Shard, StreamSize,
};
