//! What the application knows of sessions, as the log keeps it: so that their end is told once, whatever becomes of the
//! process or the node that has their connection.

use std::num::NonZero;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::position::Position;
use crate::types::{Identifier, Identity, Origin, Rights, SessionId, State, StreamName, Watch};

/// A change of what the application knows of a session.
///
/// State files and batches number the variants in this order: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionChange {
    /// It knows this from now on. Never void.
    Known {
        /// The session's id.
        sid: SessionId,
        /// What it knows.
        state: Arc<SessionState>,
        /// Position at which the session's node was gone, if it is.
        left: Option<Position>,
    },
    /// The session goes on under another id, at the node that the id names. Void if no session has the first id, or if its
    /// node isn't gone since that position, where one is given.
    Moved {
        /// The session's id before.
        from: SessionId,
        /// Its id from now on.
        to: SessionId,
        /// Position at which the session's node was gone, for a node that takes it over to tell its end.
        left: Option<Position>,
    },
    /// It knows that the session is over. Void if no session has this id.
    Told {
        /// The session's id.
        sid: SessionId,
    },
}

impl SessionChange {
    /// The session's id, before the change.
    pub const fn sid(&self) -> SessionId {
        match self {
            Self::Known { sid, .. } | Self::Moved { from: sid, .. } | Self::Told { sid } => *sid,
        }
    }
}

/// What the application knows of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// The session's first id.
    pub first: SessionId,
    /// The identity that may resume it.
    pub identity: Identity,
    /// Whether the client resumes it when it reconnects.
    pub resumes: bool,
    /// Whether the application was asked about anything that it should know the end of.
    pub is_known: bool,
    /// Whether it was told that the session is over, which was neither resumed nor asked about since.
    pub is_told: bool,
    /// How the client connected.
    pub origin: Origin,
    /// What the application calls the connection.
    pub identifiers: Box<str>,
    /// The connection's state.
    pub connection: State,
    /// The session's channels.
    pub channels: Vec<ChannelState>,
}

/// A subscription that is a channel of the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// The client's key for it.
    pub identifier: Identifier,
    /// Presence messages it gets.
    pub watch: Watch,
    /// The channel's state.
    pub state: State,
    /// How long its member stays after the connection's end, in seconds; `None` is the default.
    pub ttl: Option<NonZero<u32>>,
    /// Its streams, each with the rights in it.
    pub streams: Vec<(StreamName, Rights)>,
}
