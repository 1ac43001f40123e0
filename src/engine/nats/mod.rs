//! NATS as the engine: 2.9 or newer, with JetStream.
//!
//! A partition's log is a JetStream stream of its own. The cursor of a batch is the stream's sequence number and what it
//! is ahead, as the last [`settlement`] says, so that it goes on when the stream begins anew. Each message has a nonce, by
//! which a log is recognized, and the log's identity, which is in the stream's description, too. All names are in [`names`].
//!
//! ```text
//! follower ─ publish, acknowledged ─▶ stream of the log
//!    ▲                                   │ to every node
//!    └──── Tail: pulls of messages ◀──── consumer, ephemeral
//! ```
//!
//! - [`Supervisor`](supervisor::Supervisor) keeps one connection. If it fails, another one is made, for ever.
//! - A follower pulls messages at its worker's pace ([`Tail`](tail::Tail)): what it didn't ask for stays with NATS. A
//!   sequence number that isn't the next one, and each new connection, make it prove the log and begin anew behind what
//!   it has delivered.
//! - Every pull is answered, if by nothing else, then by its end. Then the follower asks what the log is and how long. A
//!   pull without an answer, or a longer log, has lost its consumer.
//! - A server that has restarted may have lost data, and so may a stream that was purged, deleted or replaced: then the
//!   nodes put it back ([`recovery`]).
//! - What is too large for one message is written in parts first ([`parts`]), and then named by one message. Parts and
//!   [`snapshots`] are in one more stream.

mod api;
mod ballot;
mod connector;
mod entry;
mod fault;
mod follower;
mod link;
mod manifest;
mod names;
mod notices;
mod open;
mod parts;
mod places;
mod prove;
mod recent;
mod recovery;
mod run;
mod settings;
mod settlement;
mod snapshots;
mod streams;
mod supervisor;
mod tail;

pub(super) use open::open;
pub use settings::{NatsSettings, NatsStorage};
