//! The vocabulary every layer shares: ids, what clients ask for, what they are told, and limits.
//!
//! Nothing here does anything; nothing here knows a wire format, a socket or a clock.

mod cause;
mod change;
mod close;
mod command;
mod handshake;
mod ids;
mod limits;
mod message;
mod position;
mod rights;

pub use cause::{DropCause, JoinCause, LeaveCause, ResumeOutcome, UpdateCause};
pub use change::{Change, Grant};
pub use close::CloseReason;
pub use command::{
    BadCommand, ClientCommand, CommandKind, HistoryRequest, Join, StreamCommand, Target,
};
pub use handshake::HandshakeFailure;
pub use ids::{Codec, Identifier, Identity, PresenceId, RawJson, SessionId, StreamName};
pub use limits::{Limit, Limits, Pace};
pub use message::{
    ConnectionMessage, Member, MemberChange, MemberList, PresenceChange, Publication, RecordChange,
    ServerMessage,
};
pub use position::{Epoch, Offset, Position};
pub use rights::Rights;
