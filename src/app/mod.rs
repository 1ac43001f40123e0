//! The application: what the broker asks it.

pub mod fetch;
pub mod rpc;
