//! Rights of a subscriber.

/// Rights of a subscriber besides receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// To join.
    pub join: bool,
    /// To whisper.
    pub whisper: bool,
}
