//! Messages → events.

use crate::types::{ConnectionMessage, Identifier, ServerMessage};

/// Appends a message about a subscription; nothing if the protocol has no event for it.
pub fn encode(_identifier: &Identifier, _message: &ServerMessage, _raw: bool, _out: &mut Vec<u8>) {}

/// Appends a message about the connection.
pub fn encode_connection(_message: &ConnectionMessage, _raw: bool, _out: &mut Vec<u8>) {}
