//! How bytes leave a connection.
//!
//! ```text
//! Outbox::send ─▶ the socket at once; the rest is queued for the connection's task
//! ```

mod delivery_tracker;
mod identities;
mod outbox;
mod socket;
mod tls;
#[cfg(test)]
mod wire;

pub use delivery_tracker::{Ping, Unasked};
pub use identities::{Disconnected, Identities, Registration};
pub use outbox::{Outbox, Recipient};
pub use socket::{Message, Socket};
pub use tls::TlsSocket;
#[cfg(test)]
pub(crate) use wire::Wire;
