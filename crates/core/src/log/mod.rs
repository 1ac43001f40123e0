//! The log: changes of streams in one order.
//!
//! A [`Change`] describes what should happen to a stream. An [`Entry`] is a change at its position in the
//! log. Applying the same entries in the same order gives the same streams. Beside them, the log has the sessions that
//! the application knows ([`SessionChange`]).

mod change;
mod entry;
mod node;
mod position;
mod session;
mod sessions;

pub use change::{Change, ExpiryReason, Known, Owner, Parked, Parking, Subscription};
pub use entry::{Entry, LogId, Origin, Void};
pub use node::NodeId;
pub use position::Position;
pub use session::{ChannelState, SessionChange, SessionState};
pub use sessions::{KnownSession, KnownSessions};
