//! Authorization of connections and subscriptions. Pure: no clock, no sockets.
//!
//! ```text
//! handshake ─ Origins::allow ─ Access::admit(token, now) ─→ Client | Refused
//! subscribe ─ Streams::resolve(target) ─→ stream and Rights | StreamError
//! ```
//!
//! Everything relies on HMAC with a secret that the application shares, and what nodes write for each other with one that
//! they share. There is no other kind of
//! algorithm to be confused with; tags and keys are compared in constant time.

mod access;
mod client;
mod identifiers;
mod keys;
mod origins;
mod seal;
mod streams;
mod token;

pub use crate::types::Rights;
pub use access::{Access, Refused};
pub use client::{Client, PresenceIdPolicy, digest, names};
pub use identifiers::canonical;
pub use keys::{Keys, derive, same};
pub use origins::{BadOrigin, Origins};
pub use seal::{ClusterSecret, SEAL_SIZE, Seal, Sealer, SnapshotSealer};
pub use streams::{StreamError, Streams};
pub use token::{TokenError, Tokens};
