//! Logs that several nodes write.
//!
//! A *partition* is one log and the streams that it is about. The engine, a server that all nodes know, orders
//! what they append and delivers it to all of them:
//!
//! ```text
//! input ─▶ Shard ─▶ proposals ─▶ Partition::poll_append() ─▶ Batch ─▶ engine
//!            ▲                                                          │ in one order, to every node
//!            └─ entries ◀─ Admission: may it be applied? ◀─ Partition::apply(batch)
//! ```
//!
//! The engine may lose an answer, so that a batch is appended again; and a node that all others believe dead
//! may still append. The rules of [`Admission`] make both harmless. They are part of applying the log, so
//! every node comes to the same conclusion, whatever the engine. When these rules change with a version of the broker, all
//! nodes change them at the same place ([`Rules`]).
//!
//! A node that starts restores a partition from a snapshot, which another one took with [`Partition::snapshot`], and
//! applies the batches behind it.

mod admission;
mod asks;
mod batch;
mod digest;
mod in_force;
mod members;
mod partition;
mod rules;
mod sessions;
mod snapshot;

pub use admission::{Admission, ForkId, Refused};
pub use asks::{Answer, Answered, Ask, AskId, Heard, Reading};
pub use batch::{Batch, Item};
pub use digest::{Compared, Digest};
pub use members::{Members, Overdue};
pub use partition::{Partition, beat_interval};
pub use rules::{KnownRules, Rules, Unknown};
pub use sessions::{Changed, LeftSession, TakenSession};
pub use snapshot::{Head, SnapshotItem};
