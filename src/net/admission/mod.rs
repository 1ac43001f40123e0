//! Who gets in: where a client is, how many connections there may be, and who makes room.

pub(super) mod absent;
pub(super) mod address;
mod permits;

pub(super) use absent::Absent;
pub use address::{Peer, network};
pub(super) use permits::Admission;
pub use permits::{AdmissionError, ConnectionLimits, Permit};
