//! One stream: what replicas agree on (`State`), and what a node keeps of it for those who come late
//! (`History`) or come back (`Journal`).

mod history;
mod journal;
mod list;
pub(crate) mod pages;
mod presence;
mod state;
mod subscriptions;

pub(crate) use history::{Head, History, weight};
pub(crate) use journal::{Journal, TICK, Ticks};
pub(crate) use presence::RecordKey;
pub(crate) use state::{Cause, Effect, State};

pub use history::HistorySettings;
