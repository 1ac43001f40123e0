//! Arguments and environment → a `Config` to start with, something to print, or a refusal.
//!
//! ```text
//! args ─ anycable::arguments ─ clap ─→ flags ┐
//! env  ─ BROKER_…, then ANYCABLE_… ────────→ ├─ Settings ─→ Config
//!        --config / BROKER_CONFIG ─────────→ ┘
//! ```
//!
//! Everything comes in by parameters, so tests can drive it; the process's own arguments and
//! environment are read by `main` alone.

mod anycable;
mod command;
mod engine_choice;
mod environment;
mod refusal;
mod run;
#[cfg(test)]
mod tests;

pub use run::{Outcome, REFUSED, run};
