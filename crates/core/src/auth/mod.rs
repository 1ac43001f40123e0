//! Who may connect, and what of the streams is open to them. Pure: no clock, no sockets.
//!
//! ```text
//! handshake ─ Origins::allow ─ Access::admit(token, now) ─→ Client | Refused
//! subscribe ─ Streams::resolve(target) ─→ stream and Rights | why not
//! ```
//!
//! Everything rests on HMAC with a secret that the application shares. There are no other
//! algorithms, so none can be confused with one; tags and keys are compared in constant time.

mod identifiers;
mod keys;
mod origins;
mod streams;
mod token;

pub use crate::types::Rights;
pub use identifiers::canonical;
pub use keys::{Keys, derive, same};
pub use origins::{BadOrigin, Origins};
pub use streams::{StreamError, Streams};
pub use token::{TokenError, Tokens};

use sha2::{Digest as _, Sha256};

use crate::types::{CloseReason, Identity, Names, PresenceId};

/// What decides about connections and subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// How tokens are checked; without it nobody has one.
    pub tokens: Option<Tokens>,
    /// Whether a client without a token is refused.
    pub token_required: bool,
    /// Which pages may connect; without it all.
    pub origins: Option<Origins>,
    /// Which streams may be followed.
    pub streams: Streams,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The identifiers the application gave the connection, the token's claim `ext`, in their
    /// [`canonical`] spelling.
    pub identifier: Option<Box<str>>,
    /// As whom it may join.
    pub joins: JoinsAs,
}

impl Client {
    /// The same client, called by a name if it may have any.
    #[must_use]
    pub fn called(mut self, id: Option<PresenceId>) -> Self {
        if let (JoinsAs::Anyone, Some(id)) = (&self.joins, id) {
            self.joins = JoinsAs::Called(id);
        }
        self
    }

    /// Whom a session of this client's is given to.
    pub fn identity(&self) -> Identity {
        let identifier = self.identifier.as_deref().map_or(0, digest);
        let presence_id = match &self.joins {
            JoinsAs::Anyone | JoinsAs::Called(_) => 0,
            JoinsAs::Only(id) => digest(id.as_str()),
            JoinsAs::Nobody => digest(""),
        };
        Identity { identifier, presence_id }
    }

    /// What the application may call the client when it ends its connections. `identity` is the
    /// client's own.
    pub fn names(&self, identity: Identity) -> Names {
        Names {
            identifier: self.identifier.is_some().then_some(identity.identifier),
            presence_id: match &self.joins {
                JoinsAs::Only(_) => Some(identity.presence_id),
                JoinsAs::Called(id) => Some(digest(id.as_str())),
                JoinsAs::Anyone | JoinsAs::Nobody => None,
            },
        }
    }
}

/// What the application calls those whose connections it ends.
pub fn names(identifiers: Option<&str>, presence_id: Option<&PresenceId>) -> Names {
    Names {
        identifier: identifiers.map(|identifiers| digest(&canonical(identifiers))),
        presence_id: presence_id.map(|id| digest(id.as_str())),
    }
}

/// The first eight bytes of a text's SHA-256: by chance no two are the same, and nobody can find
/// another text for one.
pub fn digest(text: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// As whom a client may join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JoinsAs {
    /// Under any presence id.
    #[default]
    Anyone,
    /// Under any, and under this one when it doesn't say which.
    Called(PresenceId),
    /// Under this one alone.
    Only(PresenceId),
    /// Not at all: ids come from tokens, and its token has none.
    Nobody,
}

/// Why a client may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no token.
    #[error("there is no token")]
    NoToken,
    /// Its token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Refused {
    /// What the client is told.
    pub const fn reason(self) -> CloseReason {
        match self {
            Self::Token(TokenError::Expired) => CloseReason::TokenExpired,
            Self::NoToken | Self::Token(_) => CloseReason::Unauthorized,
        }
    }
}

impl Access {
    /// Decides about a connection by its token at `now`, in seconds of the Unix epoch. A token
    /// that is given has to be good, even where none is required.
    pub fn admit(&self, token: Option<&str>, now: u64) -> Result<Client, Refused> {
        match (&self.tokens, token) {
            (Some(tokens), Some(token)) => Ok(tokens.verify(token, now)?),
            (Some(_), None) if self.token_required => Err(Refused::NoToken),
            (Some(tokens), None) => Ok(tokens.nobody()),
            (None, _) => Ok(Client::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_secret_everyone_is_anyone() {
        assert_eq!(Access::default().admit(None, 0), Ok(Client::default()));
        assert_eq!(Access::default().admit(Some("nonsense"), 0), Ok(Client::default()));
    }

    #[test]
    fn a_token_is_required_or_not_but_always_good() {
        let tokens = Keys::new(["k"]).map(Tokens::new);
        let mut access = Access { tokens, token_required: true, ..Access::default() };
        assert_eq!(access.admit(None, 0), Err(Refused::NoToken));
        assert_eq!(Refused::NoToken.reason(), CloseReason::Unauthorized);
        access.token_required = false;
        assert_eq!(access.admit(None, 0), Ok(Client::default()));
        let refused = access.admit(Some("nonsense"), 0).unwrap_err();
        assert_eq!(refused.reason(), CloseReason::Unauthorized);
    }

    #[test]
    fn who_has_no_token_is_nobody_where_ids_come_from_tokens() {
        let tokens = Keys::new(["k"]).map(|keys| Tokens::new(keys).with_presence_id("sub"));
        let access = Access { tokens, ..Access::default() };
        assert_eq!(access.admit(None, 0).unwrap().joins, JoinsAs::Nobody);
    }
}
