//! Logs and metrics.

pub mod logging;
pub mod metrics;

mod application;
mod cluster;
mod instruments;
mod writer;

pub use application::{ApplicationInstruments, CallOutcome, Called};
pub use cluster::{
    BatchRefusal, ClusterInstruments, Comparison, Departure, EngineFault, EngineInstruments,
    NodeState,
};
pub use instruments::{Instruments, Labelled};
