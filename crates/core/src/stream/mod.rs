//! One stream: who is present, what is kept of its publications, and what became of its members lately.

pub(crate) mod history;
pub(crate) mod journal;
mod list;
pub(crate) mod pages;
pub(crate) mod presence;

pub use history::HistorySettings;
