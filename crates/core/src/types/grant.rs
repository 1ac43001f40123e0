//! What a subscription was granted.

use serde::{Deserialize, Serialize};

use super::{Identity, Rights};

/// What a subscription was granted, kept so that it can be resumed without another check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The subscriber's rights.
    pub rights: Rights,
    /// Owner of the session. Only the same identity can resume the subscription.
    pub identity: Identity,
}

impl Grant {
    /// For anyone, with all rights.
    pub const OPEN: Self =
        Self { rights: Rights { join: true, whisper: true }, identity: Identity::ANYONE };
}
