//! Names on the wire.

/// The name of a client that gives none.
pub const GUEST: &str = "Guest";

/// The sender of a message that names none.
pub(super) const SYSTEM: &str = "system";

/// The kind of whisper that says who is typing.
pub(super) const TYPING: &str = "typing";
