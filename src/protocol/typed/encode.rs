//! Messages → frames for the client.

use crate::types::{ConnectionMessage, Identifier, ServerMessage};

/// Appends a message about a subscription; nothing if the protocol has no frame for it.
pub fn encode(_identifier: &Identifier, _message: &ServerMessage, _out: &mut Vec<u8>) {}

/// Appends a message about the connection.
pub fn encode_connection(_message: &ConnectionMessage, _out: &mut Vec<u8>) {}
