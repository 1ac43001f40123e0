//! Server-sent events.

mod encode;

pub use encode::{encode, encode_connection};

use crate::types::{BadCommand, ClientCommand, CommandKind};

/// Nothing comes from these clients but the request that begins the stream.
pub fn decode(_text: &str) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    let reason = "nothing can be said over a stream of events".into();
    Err(BadCommand { kind: CommandKind::Unknown, identifier: None, reason })
}
