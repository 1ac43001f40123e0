//! Shared parts of the protocols whose clients give plain names of rooms and users.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::read::{borrowed_string, canonical_token};
use super::write;
use crate::types::{CloseReason, ConnectionMessage, JoinRequest, PresenceId, StreamName, Target};

/// A room: the name in its subscription, and its stream.
pub(super) struct Room<'a> {
    /// The name as a JSON string, as on the wire.
    pub(super) identifier: Cow<'a, str>,
    pub(super) target: Target,
}

impl<'a> Room<'a> {
    /// Reads the name, and the signed name, if one is given.
    pub(super) fn read(
        name: &'a RawValue,
        signed: Option<&RawValue>,
    ) -> Result<Self, &'static str> {
        const NO_STRING: &str = "the room is not a string";
        let identifier = canonical_token(name.get()).ok_or(NO_STRING)?;
        let name = borrowed_string(name).map_err(|_| NO_STRING)?;
        if name.is_empty() {
            return Err("the room is empty: give it a name");
        }
        Ok(Self { identifier, target: target(StreamName::from(&*name), signed)? })
    }
}

/// The target of a plain name, or of the signed name, if there is one.
pub(super) fn target(name: StreamName, signed: Option<&RawValue>) -> Result<Target, &'static str> {
    let Some(signed) = signed else { return Ok(Target::Public(name)) };
    let signed = borrowed_string(signed).map_err(|_| "the signed stream name is not a string")?;
    Ok(Target::SignedFor { name, signed: signed.into_owned() })
}

/// A join under a name, without an info.
pub(super) fn join_as(id: PresenceId) -> JoinRequest {
    let info = write::json(|out| {
        out.extend_from_slice(b"{\"name\":");
        write::string(out, id.as_str());
        out.push(b'}');
    });
    JoinRequest { id: Some(id), info }
}

/// The error that tells a client about its connection, if anything does.
pub(super) fn error(message: &ConnectionMessage) -> Option<&str> {
    match message {
        ConnectionMessage::Error { reason, .. } => Some(reason),
        ConnectionMessage::Disconnect { reason, .. } => parting(*reason),
        ConnectionMessage::Welcome { .. }
        | ConnectionMessage::Ping { .. }
        | ConnectionMessage::Pong => None,
    }
}

/// The message with the reason of a close, for people who write frames by hand and see no close codes.
/// `None` for reasons that the client can do nothing about.
const fn parting(reason: CloseReason) -> Option<&'static str> {
    match reason {
        CloseReason::Unauthorized => {
            Some("the token is missing or invalid: connect with a valid one")
        }
        CloseReason::TokenExpired => Some("the token has expired: connect with a new one"),
        CloseReason::TooFast => Some("too many messages: connect again, and send fewer"),
        CloseReason::ClientClosed
        | CloseReason::ClientGone
        | CloseReason::NoPong
        | CloseReason::TooSlow
        | CloseReason::ServerRestart { .. }
        | CloseReason::ProtocolError
        | CloseReason::InvalidText
        | CloseReason::UnsupportedData
        | CloseReason::MessageTooBig
        | CloseReason::Resumed
        | CloseReason::Application
        | CloseReason::ServerError
        | CloseReason::Remote { .. } => None,
    }
}
