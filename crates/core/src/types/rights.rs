//! What a subscriber may do.

/// What a subscriber may do besides listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Become present.
    pub join: bool,
    /// Speak to the other subscribers.
    pub whisper: bool,
}
