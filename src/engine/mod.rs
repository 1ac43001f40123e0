//! The engine: the server that orders the batches of all nodes and delivers them to each.
//!
//! Several nodes share one log for each partition. A node appends what it proposes, and applies what comes back,
//! its own batches included, in the one order that the engine gave them:
//!
//! ```text
//! worker ─▶ PartitionLog::append() ─▶ Requests ─▶ follower ─▶ engine ─▶ every node
//! worker ◀─ PartitionLog::events   ◀─ Feed     ◀─ follower ◀─ engine
//! ```
//!
//! - A *follower* is the task of one partition. It delivers the log without gaps or repetitions, at the worker's
//!   pace: if the worker is slow, what comes meanwhile stays with the engine and is read later, and other partitions
//!   go on.
//! - Connections fail and come back without the workers noticing more than a pause: the follower proves that the
//!   log is still the one it knows, and reads what it missed. If the engine has lost a part of it, one of the nodes puts
//!   it back from its own state ([`Event::StateWanted`]). Only if the log doesn't go on from what this node has, its
//!   worker gets [`Event::Lost`].
//! - An append is unconfirmed until it comes back in the log. If it may be lost, the worker gets
//!   [`Event::AppendFailed`] and appends it again: a batch may be in the log twice, and what applies it must know.
//!
//! The set of engines is closed ([`Engine`]), and one is chosen at the start. What is the same for all of them
//! is in the files beside this one; each has a folder of its own.

mod backoff;
mod bids;
mod connect;
mod error;
mod event;
mod facts;
mod fault_log;
mod feed;
mod nats;
mod nodes;
mod opened;
mod partition_log;
mod random;
mod recent;
mod redis;
mod requests;
mod settings;
mod snapshots;

pub use connect::connect;
pub use error::EngineError;
pub use event::{Cursor, Event, LostReason};
pub use nats::{NatsSettings, NatsStorage};
pub use nodes::Nodes;
pub use opened::Opened;
pub use partition_log::PartitionLog;
pub use redis::RedisSettings;
pub use settings::{ClusterName, Engine, EngineSettings, Forks};
pub use snapshots::{Snapshot, Snapshots};
