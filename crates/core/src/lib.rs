//! The broker's core: what streams hold, who is present in them, what sessions may do, and what all
//! of that is on the wire of each protocol. Pure: time comes in as an argument, what is to be sent
//! comes out, and nothing here waits, logs or reads a clock. `Cargo.toml` keeps it so.
//!
//! ```text
//! cluster    logs that several nodes write
//! shard      streams with their subscribers, fan-out, deadlines
//! stream     presence, history, journal     session  subscriptions, questions     protocol  wire formats, frames
//! auth       tokens, signed names, origins     log  what happens to streams, in order
//! types      ids, commands, messages, limits
//! ```

pub mod auth;
pub mod cluster;
pub mod log;
pub mod protocol;
pub mod session;
pub mod shard;
pub mod stream;
pub mod types;
