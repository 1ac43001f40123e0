//! Action Cable in JSON, base and extended: the frames of the `@rails/actioncable` and
//! `@anycable/core` clients.
//!
//! The two subprotocols differ in name only: every command and every field works on both.
//! `docs/PROTOCOL.md` lists the frames.

mod decode;
mod encode;
mod parameters;

pub use decode::target;
pub use encode::encode_presence_info;
pub use parameters::{choose_subprotocol, token_in_subprotocols};

pub(super) use encode::{encode, encode_connection, encode_presence};

use super::registry::{Audience, Protocol, Sender, WireFormat};
use crate::types::{
    Capabilities, Codec, ConnectionMessage, Head, Reference, Request, ServerMessage,
};

/// Codec of its clients.
pub const CODEC: Codec = Codec::new(0, Capabilities::RESUMES.and(Capabilities::PINGS));

/// Row in the registry.
pub static PROTOCOL: Protocol = Protocol {
    handshake: Some(parameters::handshake),
    ..Protocol::plain("action-cable", "/cable", CODEC, &Format)
};

struct Format;

impl WireFormat for Format {
    fn decode<'a>(&self, text: &'a str, _: &Sender<'_>) -> Request<'a> {
        Request::unnamed(decode::decode(text))
    }

    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        decode::decode_head(text)
    }

    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>) {
        encode(&to.group.identifier, message, out);
    }

    fn encode_connection(
        &self,
        _codec: Codec,
        message: &ConnectionMessage,
        _reference: Option<&Reference>,
        out: &mut Vec<u8>,
    ) {
        encode_connection(message, out);
    }
}

/// The subprotocols, the default first.
pub const SUBPROTOCOLS: [&str; 2] = ["actioncable-v1-json", "actioncable-v1-ext-json"];

/// The channel whose subscriptions name their stream.
pub const PUBSUB_CHANNEL: &str = "$pubsub";

/// Turbo's channel (turbo-rails `app/channels/turbo/streams_channel.rb`).
pub const TURBO_CHANNEL: &str = "Turbo::StreamsChannel";

/// CableReady's channel (`cable_ready` `app/channels/cable_ready/stream.rb`).
const CABLE_READY_CHANNEL: &str = "CableReady::Stream";

/// A subprotocol that is none, and that `@rails/actioncable` offers besides
/// (`app/javascript/action_cable/internal.js`).
const UNSUPPORTED: &str = "actioncable-unsupported";

/// A subprotocol that is none but carries a token.
const TOKEN_SUBPROTOCOL: &str = "anycable-token.";

/// Whether a frame of this type means something to clients, whatever it holds: they take no
/// publication for one.
pub fn is_frame_type(name: &str) -> bool {
    matches!(
        name,
        "welcome"
            | "disconnect"
            | "ping"
            | "pong"
            | "confirm_subscription"
            | "reject_subscription"
            | "confirm_history"
            | "reject_history"
            | "presence"
            | "error"
    )
}

/// The parameter in which a client names the session it wants back.
const SESSION_PARAMETER: &str = "sid";

/// The header in which it may do that, too.
const SESSION_HEADER: &str = "x-anycable-restore-sid";
