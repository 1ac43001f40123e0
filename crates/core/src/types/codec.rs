//! What connections speak, and what makes subscribers alike.

use super::Identifier;

/// Which wire protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Action Cable in JSON, base and extended alike: they differ in name only.
    ActionCable,
    /// Phoenix Channels, version 2 of the serializer.
    Phoenix,
    /// JSON objects with a `type` and a `payload`.
    Typed,
    /// The chat room's flat JSON.
    Chat,
    /// Server-sent events.
    Sse {
        /// Only what is published, without anything around it.
        raw: bool,
    },
}

impl Codec {
    /// Whether a client can take an earlier session over: it is told its sid.
    pub const fn resumes(self) -> bool {
        matches!(self, Self::ActionCable)
    }

    /// Whether it is WebSocket frames that its messages travel in.
    pub const fn is_framed(self) -> bool {
        !matches!(self, Self::Sse { .. })
    }

    /// Whether its clients expect a ping of the protocol's own.
    pub const fn pings(self) -> bool {
        matches!(self, Self::ActionCable | Self::Sse { .. })
    }

    /// Whether it tells all members whenever one comes or goes.
    pub const fn repeats_members(self) -> bool {
        matches!(self, Self::Chat)
    }

    /// Whether several events of presence make one message.
    pub const fn merges_events(self) -> bool {
        matches!(self, Self::Phoenix)
    }
}

/// What a subscriber is told about presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Watch {
    /// Who comes, who goes, who changes.
    #[default]
    Members,
    /// How many there are, now and then.
    Occupancy,
}

impl Watch {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Members, Self::Occupancy];
}

/// What makes subscribers of a stream a group: they are told the same in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// What they speak.
    pub codec: Codec,
    /// What they want to know of presence.
    pub watch: Watch,
    /// Their name for the subscription.
    pub identifier: Identifier,
}

impl GroupKey {
    /// Those who are told of every member.
    pub const fn new(codec: Codec, identifier: Identifier) -> Self {
        Self { codec, watch: Watch::Members, identifier }
    }
}

/// A client's own name for a request, to find the answer by; in the form its codec puts on the
/// wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The subscription's: another one follows the same stream anew.
    pub subscription: Option<Box<str>>,
    /// The request's.
    pub request: Option<Box<str>>,
}
