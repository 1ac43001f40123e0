//! Names on the wire.

/// The subprotocols, the default first.
pub const SUBPROTOCOLS: [&str; 2] = ["actioncable-v1-json", EXTENDED];

/// The subprotocol of clients that resume their session.
pub(super) const EXTENDED: &str = "actioncable-v1-ext-json";

/// The channel whose subscriptions name their stream.
pub(in crate::protocol) const PUBSUB_CHANNEL: &str = "$pubsub";

/// Turbo's channel (turbo-rails `app/channels/turbo/streams_channel.rb`).
pub(in crate::protocol) const TURBO_CHANNEL: &str = "Turbo::StreamsChannel";

/// CableReady's channel (`cable_ready` `app/channels/cable_ready/stream.rb`).
pub(super) const CABLE_READY_CHANNEL: &str = "CableReady::Stream";

/// A pseudo-subprotocol that `@rails/actioncable` offers besides
/// (`app/javascript/action_cable/internal.js`).
pub(super) const UNSUPPORTED: &str = "actioncable-unsupported";

/// Prefix of a pseudo-subprotocol that carries the token.
pub(super) const TOKEN_SUBPROTOCOL: &str = "anycable-token.";

/// Whether a frame type is reserved: clients don't take such a frame for a publication.
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

/// Parameter with the session to resume.
pub(super) const SESSION_PARAMETER: &str = "sid";

/// Header with the session to resume.
pub(super) const SESSION_HEADER: &str = "x-anycable-restore-sid";
