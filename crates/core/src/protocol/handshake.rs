//! What a client says of itself with its handshake, in the places its protocol has for that.

use std::borrow::Cow;
use std::fmt;

use crate::types::{PresenceId, Repeat, SessionId};

/// A request to connect, as far as protocols look into it.
pub struct Offer<'a> {
    /// The query of its URL.
    pub query: &'a str,
    /// The subprotocols it offers, in lists.
    pub subprotocols: &'a [&'a str],
    /// The header of a name in lower case. What isn't text in it has U+FFFD in its place.
    pub header: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
}

/// What a client asks for with its handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandshakeParams {
    /// What is answered of the subprotocols it offers.
    pub subprotocol: Option<&'static str>,
    /// Its token, where the protocol has a place of its own for it.
    pub token: Option<String>,
    /// The session it wants back.
    pub resume: Option<SessionId>,
    /// When it is confirmed a subscription again.
    pub repeat: Repeat,
    /// What it is called, if it may be called anything.
    pub called: Option<PresenceId>,
}

/// An offer of something that isn't spoken here, and what to offer instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOffer(pub String);

/// Finds in a request what the client asks for.
pub type ReadOffer = fn(&Offer<'_>) -> Result<HandshakeParams, BadOffer>;

impl fmt::Debug for Offer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("query", &self.query).finish_non_exhaustive()
    }
}
