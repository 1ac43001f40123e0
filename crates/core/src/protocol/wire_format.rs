//! What each protocol does: payloads ↔ neutral messages.

use std::fmt;
use std::time::Duration;

use crate::types::{
    ClientCommand, Codec, CommandKind, ConnectionMessage, GroupKey, Head, MemberChange, PresenceId,
    Reference, Request, ServerMessage, Watch,
};

/// The sender of a message, as wire formats need it.
pub struct Sender<'a> {
    /// Its presence id, if it has one.
    pub presence_id: Option<&'a PresenceId>,
    /// The time since the Unix epoch.
    pub now: &'a dyn Fn() -> Duration,
}

/// The subscribers that a message goes to.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// Their group.
    pub group: &'a GroupKey,
    /// The request that the message answers, if it answers one.
    pub reference: Option<&'a Reference>,
}

/// The client that a message about its connection goes to.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its codec.
    pub codec: Codec,
    /// The request that the message answers, if it answers one.
    pub reference: Option<&'a Reference>,
}

/// Payloads ↔ neutral messages, without a transport's framing.
pub trait WireFormat: Sync {
    /// Reads a text message.
    fn decode<'a>(&self, text: &'a str, sender: &Sender<'_>) -> Request<'a>;

    /// Reads only the kind and the subscription of a command: enough to refuse it.
    fn decode_head<'a>(&self, text: &'a str) -> Head<'a> {
        let _ = text;
        Head { reference: None, kind: CommandKind::Unknown, identifier: None }
    }

    /// Whether a text message goes by the sender's default presence id.
    fn is_nameless(&self, text: &str) -> bool {
        let _ = text;
        false
    }

    /// The command that connecting implies, if any.
    fn decode_connecting(&self) -> Option<ClientCommand<'static>> {
        None
    }

    /// Appends the payload of a message about a subscription; nothing if the protocol has none for it.
    fn encode(&self, to: &Audience<'_>, message: &ServerMessage, out: &mut Vec<u8>);

    /// Appends consecutive messages, each framed for the group's transport. Only called for codecs that
    /// [merge events](Codec::merges_events).
    fn encode_run(&self, to: &Audience<'_>, messages: &[ServerMessage], out: &mut Vec<u8>) {
        for message in messages {
            to.frame(message, out, |out| self.encode(to, message, out));
        }
    }

    /// Appends the payload of a message about the connection; nothing if the protocol has none for it.
    fn encode_connection(&self, to: &Peer<'_>, message: &ConnectionMessage, out: &mut Vec<u8>) {
        let _ = (to, message, out);
    }
}

impl Audience<'_> {
    /// Appends a message whose payload `payload` appends, framed for the group's transport; nothing if the
    /// group isn't told of it.
    pub(super) fn frame(
        &self,
        message: &ServerMessage,
        out: &mut Vec<u8>,
        payload: impl FnOnce(&mut Vec<u8>),
    ) {
        if is_for(self.group, message) {
            self.group.codec.transport().frame(out, payload);
        }
    }
}

/// Whether a group gets such a message.
fn is_for(group: &GroupKey, message: &ServerMessage) -> bool {
    match (message, group.watch) {
        (ServerMessage::Presence(_) | ServerMessage::Missed { .. }, Watch::Occupancy)
        | (ServerMessage::Occupancy(_), Watch::Members) => false,
        // most protocols count members, not records
        (ServerMessage::Presence(change), Watch::Members) => {
            group.codec.tells_records() || change.member != MemberChange::Unchanged
        }
        _ => true,
    }
}

impl fmt::Debug for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("presence_id", &self.presence_id).finish_non_exhaustive()
    }
}
