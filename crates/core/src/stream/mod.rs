//! One stream: the replicated state (`State`), and what a node keeps for subscribers that request missed
//! publications (`History`) or resume (`Journal`).

mod digest;
mod history;
mod journal;
mod list;
pub(crate) mod pages;
mod presence;
mod state;
mod subscriptions;
mod usage;

pub(crate) use digest::mix;
pub(crate) use history::{Head, History, weight};
pub(crate) use journal::{Journal, TICK, Ticks};
pub(crate) use presence::RecordKey;
pub(crate) use state::{Cause, Effect, Expiry, State};
pub(crate) use usage::Usage;

pub use history::HistorySettings;
