//! Admission of connections: the client's address, limits, and eviction.

pub(super) mod absent;
pub(super) mod address;
mod permits;

pub(super) use absent::Absent;
pub use address::{Peer, network};
pub(super) use permits::Admission;
pub use permits::{AdmissionError, ConnectionLimits, Permit};
