//! A client's parameters, from the handshake of its protocol.

use std::borrow::Cow;
use std::fmt;

use crate::types::{PresenceId, Repeat, SessionId};

/// A handshake request, as far as protocols read it.
pub struct Offer<'a> {
    /// The query of its URL.
    pub query: &'a str,
    /// The subprotocols it offers, in lists.
    pub subprotocols: &'a [&'a str],
    /// Lookup of a header by its name in lower case. Bytes that aren't UTF-8 are replaced.
    pub header: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
}

/// A handshake's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandshakeParams {
    /// The negotiated subprotocol.
    pub subprotocol: Option<&'static str>,
    /// The token, if the protocol has a place of its own for it.
    pub token: Option<String>,
    /// The session to resume.
    pub resume: Option<SessionId>,
    /// Whether the client resumes its session when it reconnects, as far as it says so.
    pub resumes: bool,
    /// When repeated subscribes are confirmed.
    pub repeat: Repeat,
    /// The presence id to use, unless the token sets one.
    pub presence_id: Option<PresenceId>,
}

/// An offer that isn't supported, and what to offer instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOffer(pub String);

/// Reader of a handshake's parameters.
pub type ReadOffer = fn(&Offer<'_>) -> Result<HandshakeParams, BadOffer>;

impl fmt::Debug for Offer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("query", &self.query).finish_non_exhaustive()
    }
}
