//! Messages → frames for the client.

use crate::types::{ConnectionMessage, Identifier, Reference, ServerMessage};

/// Appends a message about a subscription; nothing if the protocol has no frame for it.
pub fn encode(
    _identifier: &Identifier,
    _message: &ServerMessage,
    _reference: Option<&Reference>,
    _out: &mut Vec<u8>,
) {
}

/// Appends messages in a row, all presence events among them as one.
pub fn encode_run(identifier: &Identifier, messages: &[ServerMessage], out: &mut Vec<u8>) {
    for message in messages {
        encode(identifier, message, None, out);
    }
}

/// Appends a message about the connection.
pub fn encode_connection(
    _message: &ConnectionMessage,
    _reference: Option<&Reference>,
    _out: &mut Vec<u8>,
) {
}
