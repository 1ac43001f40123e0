//! What a subscription was given.

use super::{Identity, Rights};

/// What a subscription was given, so that it can be taken up again without asking anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What the subscriber may do.
    pub rights: Rights,
    /// Whom the session was given to. Whoever else comes doesn't get the subscription.
    pub identity: Identity,
}

impl Grant {
    /// To anyone, for everything.
    pub const OPEN: Self =
        Self { rights: Rights { join: true, whisper: true }, identity: Identity::ANYONE };
}
