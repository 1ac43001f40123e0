//! The streams of one task, with their subscribers: fan-out, replies, timers.
//!
//! ```text
//! handle(stream, input, now) ─▶ a change ─▶ entry ─▶ State::apply ─▶ effects
//! handle_timeout(now) ─▶ the same for what expires; poll_timeout() says when
//! commit(keep) ─▶ keep(entries), then the Output:
//!   poll_reply()    messages to one subscriber, unsent ones first
//!   poll_outcome()  what became of a request from within the broker
//!   poll_fan_out()  unsent messages for a slice of a group
//!   members(), …    queries from within the broker
//! ```

mod admin;
mod apply;
mod commands;
mod counts;
mod deadlines;
mod delivery;
mod end;
mod expiry;
mod fan_out;
mod gone;
mod idle;
mod input;
mod inspect;
mod member_lists;
mod observed;
mod occupancy;
mod outcome;
mod output;
mod parked;
mod presence;
mod proposals;
mod publish;
mod put;
mod restore;
mod resume;
mod settings;
#[expect(clippy::module_inception, reason = "the type is called as the room")]
mod shard;
mod shared;
mod snapshot;
mod stream;
mod streams;
mod subscribe;
mod timers;
mod window;

pub use crate::stream::HistorySettings;
pub use crate::types::GroupKey;
pub use counts::{Counts, Totals};
pub use delivery::{Delivery, Destination, FanOut, Limited};
pub use input::{End, Input, Publish, SubscriberKey};
pub use inspect::{Attendee, StreamSize};
pub use outcome::{Outcome, Ticket};
pub use output::Output;
pub use parked::{ParkedChange, ParkedState};
pub use proposals::Proposal;
pub use put::{Placed, Put};
pub use restore::Restoring;
pub use settings::{ResumeSettings, Settings};
pub use shard::Shard;

use shard::{MAX_BACKLOG, live_subscriber_mut, subscriber_mut, weight};
use stream::Stream;
