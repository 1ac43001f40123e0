//! Frames from the client → commands.

use crate::types::{Arrival, BadCommand, ClientCommand, CommandKind, Target, Watch};

/// Reads one frame.
pub fn decode(_text: &str) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    Err(BadCommand { kind: CommandKind::Unknown, identifier: None, reason: "".into() })
}

/// Opening a socket is following the default room, and everyone there is told.
pub fn follow_default_room() -> ClientCommand<'static> {
    ClientCommand::Subscribe {
        identifier: "\"lobby\"".into(),
        target: Target::Public("lobby".into()),
        history: None,
        join: None,
        watch: Watch::Members,
        arrival: Arrival { is_announced: true, ..Arrival::default() },
    }
}
