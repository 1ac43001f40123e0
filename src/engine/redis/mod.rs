//! Redis as the engine, 6.2 or newer: one server, or the masters of a Redis Cluster.
//!
//! A partition's log is a Redis stream. The id of an entry is its cursor, which counts from 1 without gaps, and a
//! nonce, by which a log is recognized: another log of the same length has other nonces. A script appends, so that
//! cursor, entry and message are one step ([`scripts`]); all names of keys are in [`keys`].
//!
//! ```text
//! follower ─ EVALSHA append ─▶ HSET meta head ─ XADD log ─ PUBLISH channel
//!    ▲                                                        │ to every node
//!    └── Inbox (bounded) ◀── lines: one to ask, one that is subscribed ◀── Redis
//! ```
//!
//! - The [`Locator`](locator::Locator) knows which server has which partitions: one has all, or each master of a Redis
//!   Cluster those whose slots it has. The [`Fleet`](fleet::Fleet) looks again when anything fails and every few seconds,
//!   and keeps a supervisor for each server.
//! - A [`Supervisor`](supervisor::Supervisor) keeps two connections to its server: one for commands, one that is
//!   subscribed to the channels of the server's partitions. If either fails, both are made anew, for ever. The partitions
//!   get them as their [`Link`](link::Link).
//! - Messages may be lost; the log isn't. A message that isn't the next one, one that found its inbox full, and
//!   each new connection make the follower read the log behind what it has delivered.
//! - Each second a supervisor asks for the heads of its logs, and then, on the subscribed connection, for a sign
//!   of life. What was published before the heads were read comes before that sign. A log that is longer then has
//!   lost its subscription: the connections are made anew.
//! - A server that has restarted may have lost data, and so may one that replaces another: then the nodes put it back,
//!   each log for itself ([`recovery`]). A log that has come to another server with its slot is looked at in the same way.

mod bids;
mod connector;
mod decisions;
mod entry;
mod fault;
mod fleet;
mod follower;
mod hello;
mod inbox;
mod keys;
mod link;
mod locator;
mod meta;
#[cfg(test)]
mod model;
mod open;
mod pair;
mod recovery;
mod run;
mod scripts;
mod settings;
mod shared;
mod slots;
mod snapshots;
mod supervisor;
mod topology;

pub(super) use open::open;
pub use settings::RedisSettings;
