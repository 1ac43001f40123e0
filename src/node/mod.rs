//! The node: the router, a queue and a task for each shard, and the sessions that can be resumed.
//!
//! ```text
//! Router::try_send ─▶ a shard's queue ─▶ worker: applies all queued inputs, then sends
//!                                         ├─ replies:  encode ─▶ Outbox::send
//!                                         └─ fan-out:  encode once a slice ─▶ Outbox::send to each
//! ```

mod asks;
mod catch_up;
mod cluster;
mod digests;
mod encoding;
mod engine_time;
pub mod inspect;
mod job;
mod known;
mod log_meter;
mod log_time;
mod membership;
mod meter;
mod observers;
mod parked;
mod partition;
mod peers;
mod query;
mod replica;
mod room;
mod router;
mod sessions;
mod skipped;
mod startup;
mod timer;
mod worker;

pub use cluster::{Cluster, ClusterNames, Ends, OwnNode};
pub use encoding::{EncodingError, LogEncoding, LogEntry};
pub use inspect::{Observer, Survey};
pub use job::{Ended, Goodbye, Presence, Resume};
pub use log_time::LogTime;
pub use peers::Peers;
pub use query::{Attendance, Tally};
pub use router::{NoRoom, Receipt, Router, SessionChanging, Unavailable};
pub use sessions::{Claim, Sessions};
pub use startup::{Partitions, Startup};
