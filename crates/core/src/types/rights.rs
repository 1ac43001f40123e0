//! Rights of a subscriber.

use serde::{Deserialize, Serialize};

/// Rights of a subscriber besides receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// To join.
    pub join: bool,
    /// To whisper.
    pub whisper: bool,
}
