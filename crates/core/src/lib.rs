//! The broker's core: what streams hold, who is present in them, what sessions may do, and what all
//! of that is on the wire of each protocol. Pure: time comes in as an argument, what is to be sent
//! comes out, and nothing here waits, locks, logs or reads a clock. `Cargo.toml` keeps it so.
//!
//! ```text
//! shard      streams with their subscribers, fan-out, deadlines
//! stream     who is present, history, journal
//! session    what one connection follows
//! protocol   WebSocket frames, a codec each
//! log        what happens to streams, in order
//! auth       tokens, signed names, origins
//! types      ids, commands, messages, limits
//! ```

pub mod auth;
pub mod log;
pub mod protocol;
pub mod session;
pub mod shard;
pub mod stream;
pub mod types;
