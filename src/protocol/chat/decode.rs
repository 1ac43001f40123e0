//! Frames from the client → commands.

use crate::types::{BadCommand, ClientCommand, CommandKind};
use std::time::Duration;

/// Reads one frame.
pub fn decode(_text: &str, _now: Duration) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    Err(BadCommand { kind: CommandKind::Unknown, identifier: None, reason: "".into() })
}
