//! Bytes ↔ neutral messages, by codec.

use std::time::Duration;

use super::registry::format;
use super::wire_format::{Audience, Peer, Sender};
use crate::types::{
    ClientCommand, CloseReason, Codec, ConnectionMessage, GroupKey, Head, PresenceId, Reference,
    Request, ServerMessage, Watch,
};

/// Reads a text message from a client with a default `presence_id`, received at a time since the
/// Unix epoch.
pub fn decode<'a>(
    codec: Codec,
    text: &'a str,
    presence_id: Option<&PresenceId>,
    now: impl Fn() -> Duration,
) -> Request<'a> {
    format(codec).decode(text, &Sender { presence_id, now: &now })
}

/// Whether a text message goes by the client's default presence id.
pub fn is_nameless(codec: Codec, text: &str) -> bool {
    format(codec).is_nameless(text)
}

/// The command that a client's connecting implies, if the protocol has one.
pub fn decode_connecting(codec: Codec) -> Option<ClientCommand<'static>> {
    format(codec).decode_connecting()
}

/// Reads only the kind and the subscription of a client's command: enough to refuse it.
pub fn decode_head(codec: Codec, text: &str) -> Head<'_> {
    format(codec).decode_head(text)
}

/// Appends the bytes of a message about a subscription; nothing if the protocol has no such message.
/// `reference` is that of the answered request.
pub fn encode(
    group: &GroupKey,
    message: &ServerMessage,
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    let to = Audience { group, reference };
    to.frame(message, out, |out| format(group.codec).encode(&to, message, out));
}

/// Appends the bytes of consecutive messages, as [`encode`] does for each. Protocols that merge events
/// ([`Codec::merges_events`]) make one message of several.
pub fn encode_run(
    group: &GroupKey,
    messages: &[ServerMessage],
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    if group.codec.merges_events() && group.watch == Watch::Members {
        format(group.codec).encode_run(&Audience { group, reference }, messages, out);
    } else {
        for message in messages {
            encode(group, message, reference, out);
        }
    }
}

/// Appends the bytes that close a connection: the protocol's message with the reason, and the transport's
/// close frame, where they exist. Nothing for a client that is gone.
pub fn encode_close(codec: Codec, reason: CloseReason, out: &mut Vec<u8>) {
    let reconnect = match reason {
        CloseReason::ClientGone | CloseReason::ClientClosed => return,
        // who is told gives its session up
        CloseReason::ServerRestart { elsewhere: true } if codec.resumes() => None,
        CloseReason::NoPong
        | CloseReason::TooSlow
        | CloseReason::TooFast
        | CloseReason::ServerError
        | CloseReason::ServerRestart { .. } => Some(true),
        CloseReason::Remote { reconnect } => Some(reconnect),
        CloseReason::Unauthorized | CloseReason::TokenExpired | CloseReason::Resumed => Some(false),
        // who is closed by the application was told why by it
        CloseReason::Application
        | CloseReason::ProtocolError
        | CloseReason::InvalidText
        | CloseReason::UnsupportedData
        | CloseReason::MessageTooBig => None,
    };
    if let Some(reconnect) = reconnect {
        let message = ConnectionMessage::Disconnect { reason, reconnect };
        encode_connection(codec, &message, None, out);
    }
    let code =
        if codec.goes_by_close_code() { reason.telling_close_code() } else { reason.close_code() };
    codec.transport().close(out, code, reason.as_ref());
}

/// Appends a message of the application as it is.
pub fn encode_message(codec: Codec, message: &str, out: &mut Vec<u8>) {
    codec.transport().frame(out, |out| out.extend_from_slice(message.as_bytes()));
}

/// Appends the bytes of a message about the connection; nothing if the protocol has no such message.
/// `reference` is that of the answered request.
pub fn encode_connection(
    codec: Codec,
    message: &ConnectionMessage,
    reference: Option<&Reference>,
    out: &mut Vec<u8>,
) {
    codec.transport().frame(out, |out| {
        format(codec).encode_connection(&Peer { codec, reference }, message, out);
    });
}
