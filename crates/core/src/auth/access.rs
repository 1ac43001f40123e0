//! The rules for connections and subscriptions.

use super::client::Client;
use super::origins::Origins;
use super::streams::Streams;
use super::token::{TokenError, Tokens};
use crate::types::CloseReason;

/// The rules for connections and subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The rules for tokens; without them, tokens are ignored.
    pub tokens: Option<Tokens>,
    /// Whether clients need a token.
    pub token_required: bool,
    /// Origins of pages that may connect; `None` allows all.
    pub origins: Option<Origins>,
    /// The rules for subscriptions.
    pub streams: Streams,
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token.
    #[error("there is no token")]
    NoToken,
    /// An invalid token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Refused {
    /// The close reason for the client.
    pub const fn reason(self) -> CloseReason {
        match self {
            Self::Token(TokenError::Expired) => CloseReason::TokenExpired,
            Self::NoToken | Self::Token(_) => CloseReason::Unauthorized,
        }
    }
}

impl Access {
    /// A client without a token, which need not have one.
    pub fn nobody(&self) -> Client {
        self.tokens.as_ref().map(Tokens::nobody).unwrap_or_default()
    }

    /// Checks a connection's token at `now`, in seconds of the Unix epoch. A token must be valid
    /// even if none is required.
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
    use crate::auth::{Keys, PresenceIdPolicy};

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
        assert_eq!(access.admit(None, 0).unwrap().presence_ids, PresenceIdPolicy::None);
    }
}
