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
    pub presence_ids: PresenceIdPolicy,
}

impl Client {
    /// Sets the default presence id, if the token doesn't set one.
    #[must_use]
    pub fn with_default_presence_id(mut self, id: Option<PresenceId>) -> Self {
        if let (PresenceIdPolicy::Any, Some(id)) = (&self.presence_ids, id) {
            self.presence_ids = PresenceIdPolicy::Default(id);
        }
        self
    }

    /// A client that the application names, without a token.
    #[must_use]
    pub fn named(self, identifiers: &str) -> Self {
        let identifier = (!identifiers.is_empty()).then(|| canonical(identifiers));
        Self { identifier, ..self }
    }

    /// The owner of this client's sessions.
    pub fn identity(&self) -> Identity {
        let identifier = self.identifier.as_deref().map_or(0, digest);
        let presence_id = match &self.presence_ids {
            PresenceIdPolicy::Any | PresenceIdPolicy::Default(_) => 0,
            PresenceIdPolicy::Only(id) => digest(id.as_str()),
            PresenceIdPolicy::None => digest(""),
        };
        Identity { identifier, presence_id }
    }

    /// The names by which the application can close the client's connections. `identity` is the
    /// client's own.
    pub fn names(&self, identity: Identity) -> Names {
        Names {
            identifier: self.identifier.is_some().then_some(identity.identifier),
            presence_id: match &self.presence_ids {
                PresenceIdPolicy::Only(_) => Some(identity.presence_id),
                PresenceIdPolicy::Default(id) => Some(digest(id.as_str())),
                PresenceIdPolicy::Any | PresenceIdPolicy::None => None,
            },
        }
    }
}

/// The presence ids a client may join under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PresenceIdPolicy {
    /// Any.
    #[default]
    Any,
    /// Any; this one by default.
    Default(PresenceId),
    /// This one only.
    Only(PresenceId),
    /// None: ids come from tokens, and the client's has none.
    None,
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
