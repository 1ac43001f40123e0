//! The client of a connection, and the names the application has for it.

use sha2::{Digest as _, Sha256};

use super::identifiers::canonical;
use crate::types::{Identity, Names, PresenceId};

/// The client of a connection, as its token identifies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The connection's identifiers, the token's claim `ext`, in [`canonical`] form.
    pub identifier: Option<Box<str>>,
    /// The presence ids it may join under.
    pub joins: JoinsAs,
}

impl Client {
    /// Sets the default presence id, if the token doesn't set one.
    #[must_use]
    pub fn called(mut self, id: Option<PresenceId>) -> Self {
        if let (JoinsAs::Anyone, Some(id)) = (&self.joins, id) {
            self.joins = JoinsAs::Called(id);
        }
        self
    }

    /// The owner of this client's sessions.
    pub fn identity(&self) -> Identity {
        let identifier = self.identifier.as_deref().map_or(0, digest);
        let presence_id = match &self.joins {
            JoinsAs::Anyone | JoinsAs::Called(_) => 0,
            JoinsAs::Only(id) => digest(id.as_str()),
            JoinsAs::Nobody => digest(""),
        };
        Identity { identifier, presence_id }
    }

    /// The names by which the application can close the client's connections. `identity` is the
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

/// The presence ids a client may join under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JoinsAs {
    /// Any.
    #[default]
    Anyone,
    /// Any; this one by default.
    Called(PresenceId),
    /// This one only.
    Only(PresenceId),
    /// None: ids come from tokens, and the client's has none.
    Nobody,
}

/// The names of a remote disconnect.
pub fn names(identifiers: Option<&str>, presence_id: Option<&PresenceId>) -> Names {
    Names {
        identifier: identifiers.map(|identifiers| digest(&canonical(identifiers))),
        presence_id: presence_id.map(|id| digest(id.as_str())),
    }
}

/// The first eight bytes of a text's SHA-256: accidental collisions are negligible, and preimages
/// infeasible.
pub fn digest(text: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}
