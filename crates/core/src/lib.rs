//! The broker's core: what streams hold, who is present in them, what sessions may do, and what all
//! of that is on the wire of each protocol. Pure: time comes in as an argument, what is to be sent
//! comes out, and nothing here waits, locks, logs or reads a clock. `Cargo.toml` keeps it so.
//!
//! ```text
//! broker     Shard ┐
//! session          ├ each names those in the rows below it
//! protocol  codecs │
//! auth       tokens, signed names, origins ┘
//! types      ids, commands, messages, limits
//! ```

pub mod auth;
pub mod broker;
pub mod protocol;
pub mod session;
pub mod types;
