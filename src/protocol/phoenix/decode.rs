//! Frames from the client → requests.

use std::time::Duration;

use crate::types::{BadCommand, CommandKind, Head, Request};

/// Reads one frame.
pub fn decode(_text: &str, _now: Duration) -> Request<'_> {
    let kind = CommandKind::Unknown;
    Request::unnamed(Err(BadCommand { kind, identifier: None, reason: "".into() }))
}

/// Reads of a frame only which command it is and about which subscription.
pub fn decode_head(_text: &str) -> Head<'_> {
    Head { reference: None, kind: CommandKind::Unknown, identifier: None }
}
