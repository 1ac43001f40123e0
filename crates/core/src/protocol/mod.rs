//! Wire formats: messages of clients ↔ neutral ones. Pure.
//!
//! [`websocket`] turns bytes into frames and back; a module for each protocol turns a client's texts
//! into [`Request`]s and messages into texts. The functions here choose between them.

pub mod action_cable;
pub mod chat;
pub mod meta;
pub mod phoenix;
pub mod plain;
pub mod query;
pub mod sse;
pub mod typed;
pub mod websocket;

mod read;
mod room;
mod write;

use std::time::Duration;

use crate::types::{
    ClientCommand, CloseReason, Codec, CommandKind, ConnectionMessage, GroupKey, Head,
    MemberChange, PresenceId, Reference, Request, ServerMessage, Watch,
};

/// Reads a text message from a client that is called something or not, received at a time since the
/// Unix epoch.
pub fn decode<'a>(
    codec: Codec,
    text: &'a str,
    called: Option<&PresenceId>,
    now: impl FnOnce() -> Duration,
) -> Request<'a> {
    match codec {
        Codec::ActionCable => Request::unnamed(action_cable::decode(text)),
        Codec::Phoenix => phoenix::decode(text, now),
        Codec::Typed => Request::unnamed(typed::decode(text)),
        Codec::Chat => Request::unnamed(chat::decode(text, called, now())),
        Codec::Sse { .. } => Request::unnamed(sse::decode(text)),
    }
}

/// What a client has asked for by connecting, if its protocol has such a thing.
pub fn decode_connecting(codec: Codec) -> Option<ClientCommand<'static>> {
    match codec {
        Codec::Typed => Some(typed::follow_default_room()),
        Codec::ActionCable | Codec::Phoenix | Codec::Chat | Codec::Sse { .. } => None,
    }
}

/// Reads of a client's text message only which command it is and about which subscription: enough to
/// refuse it.
pub fn decode_head(codec: Codec, text: &str) -> Head<'_> {
    match codec {
        Codec::ActionCable => action_cable::decode_head(text),
        Codec::Phoenix => phoenix::decode_head(text),
        Codec::Typed => typed::decode_head(text),
        Codec::Chat => chat::decode_head(text),
        Codec::Sse { .. } => Head { reference: None, kind: CommandKind::Unknown, identifier: None },
    }
}

/// Appends what goes over the wire for a message about a subscription; nothing, if the protocol
/// doesn't show such a thing. `reference` is that of the request it answers.
pub fn encode(
    group: &GroupKey,
    message: &ServerMessage,
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    if !is_for(group, message) {
        return;
    }
    let GroupKey { codec, identifier, .. } = group;
    match codec {
        Codec::ActionCable => {
            write::text_frame(out, |out| action_cable::encode(identifier, message, out));
        }
        Codec::Phoenix => phoenix::encode(identifier, message, reference, out),
        Codec::Typed => write::text_frame(out, |out| typed::encode(identifier, message, out)),
        Codec::Chat => write::text_frame(out, |out| chat::encode(identifier, message, out)),
        Codec::Sse { raw } => sse::encode(identifier, message, *raw, out),
    }
}

/// Appends what goes over the wire for messages in a row: as [`encode`] does for each, but where the
/// protocol makes one of several ([`Codec::merges_events`]).
pub fn encode_run(
    group: &GroupKey,
    messages: &[ServerMessage],
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    if group.codec == Codec::Phoenix && group.watch == Watch::Members {
        phoenix::encode_run(&group.identifier, messages, reference, out);
    } else {
        for message in messages {
            encode(group, message, reference, out);
        }
    }
}

/// Whether a group is told of such a thing at all.
fn is_for(group: &GroupKey, message: &ServerMessage) -> bool {
    match (message, group.watch) {
        (ServerMessage::Presence(_) | ServerMessage::Missed { .. }, Watch::Occupancy)
        | (ServerMessage::Occupancy(_), Watch::Members) => false,
        // most protocols count members, not records
        (ServerMessage::Presence(change), Watch::Members) => {
            group.codec == Codec::Phoenix || change.member != MemberChange::Unchanged
        }
        _ => true,
    }
}

/// Appends what goes over the wire when the connection is closed: what tells the client why, where
/// the protocol has such a thing, and the close frame. Nothing for a client that is gone.
pub fn encode_close(codec: Codec, reason: CloseReason, out: &mut Vec<u8>) {
    let reconnect = match reason {
        CloseReason::ClientGone | CloseReason::ClientClosed => return,
        CloseReason::NoPong
        | CloseReason::TooSlow
        | CloseReason::TooFast
        | CloseReason::ServerRestart => Some(true),
        CloseReason::Remote { reconnect } => Some(reconnect),
        CloseReason::Unauthorized | CloseReason::TokenExpired | CloseReason::Resumed => Some(false),
        CloseReason::ProtocolError
        | CloseReason::InvalidText
        | CloseReason::UnsupportedData
        | CloseReason::MessageTooBig => None,
    };
    if let Some(reconnect) = reconnect {
        let message = ConnectionMessage::Disconnect { reason, reconnect };
        encode_connection(codec, &message, None, out);
    }
    match codec {
        Codec::ActionCable => {
            websocket::write_close(out, reason.close_code(), reason.as_ref());
        }
        // the clients of these go by the code alone
        Codec::Phoenix | Codec::Typed | Codec::Chat => {
            let code = reason.telling_close_code();
            websocket::write_close(out, code, reason.as_ref());
        }
        Codec::Sse { .. } => {}
    }
}

/// The end of the message that byte `at` of a codec's output stands in; `at` itself where one begins.
pub fn boundary(codec: Codec, output: &[u8], at: usize) -> usize {
    match codec {
        Codec::ActionCable | Codec::Phoenix | Codec::Typed | Codec::Chat => {
            websocket::frame_boundary(output, at)
        }
        Codec::Sse { .. } => sse::event_boundary(output, at),
    }
}

/// Appends what goes over the wire for a message about the connection; nothing, if the protocol
/// doesn't show such a thing. `reference` is that of the request it answers.
pub fn encode_connection(
    codec: Codec,
    message: &ConnectionMessage,
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    match codec {
        Codec::ActionCable => {
            write::text_frame(out, |out| action_cable::encode_connection(message, out));
        }
        Codec::Phoenix => phoenix::encode_connection(message, reference, out),
        Codec::Typed => write::text_frame(out, |out| typed::encode_connection(message, out)),
        Codec::Chat => write::text_frame(out, |out| chat::encode_connection(message, out)),
        Codec::Sse { raw } => sse::encode_connection(message, raw, out),
    }
}

#[cfg(test)]
mod tests;
