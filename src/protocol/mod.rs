//! Wire formats: frames ↔ neutral messages. Pure.
//!
//! [`websocket`] turns bytes into frames and back; a module for each protocol turns frames into
//! [`ClientCommand`]s and messages into frames. The functions here choose between them.

pub mod action_cable;
pub mod websocket;

use std::borrow::Cow;

use crate::types::{
    BadCommand, ClientCommand, CloseReason, Codec, CommandKind, ConnectionMessage, Identifier,
    MemberChange, ServerMessage,
};

/// Reads a text message from a client.
pub fn decode(codec: Codec, text: &str) -> Result<ClientCommand<'_>, BadCommand<'_>> {
    match codec {
        Codec::ActionCable => action_cable::decode(text),
    }
}

/// Reads of a client's text message only which command it is and about which subscription: enough to
/// refuse it.
pub fn decode_head(codec: Codec, text: &str) -> (CommandKind, Option<Cow<'_, str>>) {
    match codec {
        Codec::ActionCable => action_cable::decode_head(text),
    }
}

/// Appends what goes over the wire for a message about a subscription; nothing, if the protocol
/// doesn't show such a thing.
pub fn encode(codec: Codec, identifier: &Identifier, message: &ServerMessage, out: &mut Vec<u8>) {
    match codec {
        Codec::ActionCable => {
            if let ServerMessage::Presence(change) = message
                && change.member == MemberChange::Unchanged
            {
                return; // this protocol counts members, not records
            }
            websocket::write_text(out, |out| action_cable::encode(identifier, message, out));
        }
    }
}

/// Appends what goes over the wire when the connection is closed: what tells the client why, where
/// the protocol has such a thing, and the close frame. Nothing for a client that is gone.
pub fn encode_close(codec: Codec, reason: CloseReason, out: &mut Vec<u8>) {
    match reason {
        CloseReason::ClientGone | CloseReason::ClientClosed => return,
        CloseReason::NoPong
        | CloseReason::TooSlow
        | CloseReason::TooFast
        | CloseReason::ServerRestart => {
            let message = ConnectionMessage::Disconnect { reason, reconnect: true };
            encode_connection(codec, &message, out);
        }
        CloseReason::Remote { reconnect } => {
            let message = ConnectionMessage::Disconnect { reason, reconnect };
            encode_connection(codec, &message, out);
        }
        CloseReason::Unauthorized | CloseReason::TokenExpired | CloseReason::Resumed => {
            let message = ConnectionMessage::Disconnect { reason, reconnect: false };
            encode_connection(codec, &message, out);
        }
        CloseReason::ProtocolError
        | CloseReason::InvalidText
        | CloseReason::UnsupportedData
        | CloseReason::MessageTooBig => {}
    }
    websocket::write_close(out, reason.close_code(), reason.as_str());
}

/// Appends what goes over the wire for a message about the connection.
pub fn encode_connection(codec: Codec, message: &ConnectionMessage, out: &mut Vec<u8>) {
    match codec {
        Codec::ActionCable => {
            websocket::write_text(out, |out| action_cable::encode_connection(message, out));
        }
    }
}
