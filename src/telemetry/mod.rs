//! Logs and metrics.

pub mod logging;
pub mod metrics;

mod instruments;
mod writer;

pub use instruments::{Instruments, Labelled};
