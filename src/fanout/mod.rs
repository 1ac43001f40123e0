//! The shards at work: a task for each, and the outboxes of the connections they tell things.
//!
//! ```text
//! Hub::send ─▶ a shard's queue ─▶ worker: everything that waits, applied in one go
//!                                  ├─ replies:  encode ─▶ Outbox::send
//!                                  └─ fan-out:  encode once a slice ─▶ Outbox::send to each
//! Outbox::send ─▶ the socket, at once; what it doesn't take waits for the connection's task
//! ```

mod alarm;
mod beginning;
mod hub;
mod identities;
mod job;
mod meter;
mod outbox;
mod receipt;
mod sessions;
mod socket;
mod survey;
mod tls;
mod worker;

pub use beginning::Beginning;
pub use hub::{Hub, NoRoom, Stopped};
pub use identities::{Disconnected, Identities, Registration};
pub use job::{Ended, Goodbye, Presence, Resume};
pub use outbox::{Outbox, Recipient};
pub use receipt::{Ping, Unasked};
pub use sessions::{Claim, Sessions};
pub use socket::Socket;
pub use survey::{Attendance, Observer, Survey, Tally};
pub use tls::TlsSocket;
