//! Logs and metrics.

pub mod logging;
pub mod metrics;

mod instruments;

pub use instruments::{Instruments, Labelled};
