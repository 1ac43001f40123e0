//! Codecs: wire format, transport and capabilities of a subscriber's client; and groups of subscribers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Identifier;

/// How messages travel to a client; it decides what is put around each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// A WebSocket: a text frame each.
    WebSocket,
    /// A stream of server-sent events: an event each.
    EventStream,
    /// Answers to polls: an item of a list each.
    LongPolling,
}

impl Transport {
    /// Whether clients answer native pings, which prove what has arrived.
    pub const fn has_pings(self) -> bool {
        matches!(self, Self::WebSocket)
    }
}

/// Capabilities and needs of a protocol's clients, as far as streams and connections depend on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capabilities(u8);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);
    /// A client can resume a session: it is told its sid.
    pub const RESUMES: Self = Self(1);
    /// Clients expect a ping of the protocol's own.
    pub const PINGS: Self = Self(1 << 1);
    /// Clients get events of each device of a member, not only of the member.
    pub const RECORDS: Self = Self(1 << 2);
    /// Several presence events make one message.
    pub const MERGES_EVENTS: Self = Self(1 << 3);
    /// A presence event comes with the list of all members.
    pub const REPEATS_MEMBERS: Self = Self(1 << 4);
    /// Clients know from the close code alone whether to reconnect.
    pub const CLOSE_CODES: Self = Self(1 << 5);
    /// A client that leaves its name out has the one of its last join.
    pub const KEEPS_NAMES: Self = Self(1 << 6);
    /// Clients subscribe to channels, about which the application may be asked.
    pub const CHANNELS: Self = Self(1 << 7);

    /// The union of both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Wire format, transport and capabilities of a subscriber's client.
///
/// Three bytes, since each group of subscribers has one. The registry of protocols has the wire format of
/// its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Codec {
    number: u8,
    transport: Transport,
    capabilities: Capabilities,
}

impl Serialize for Codec {
    /// By its number alone: what it can do, and over which transport, is the reader's matter.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number)
    }
}

impl<'de> Deserialize<'de> for Codec {
    /// A codec that can do nothing yet, of a connection that is gone.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(|number| Self::new(number, Capabilities::NONE))
    }
}

impl Codec {
    /// A codec over WebSockets. Its number is the one in files on disk, so it must never change.
    pub const fn new(number: u8, capabilities: Capabilities) -> Self {
        Self { number, transport: Transport::WebSocket, capabilities }
    }

    /// The same codec over another transport. Without pings to prove what arrived, sessions can't be
    /// resumed.
    #[must_use]
    pub const fn over(self, transport: Transport) -> Self {
        let capabilities = if transport.has_pings() {
            self.capabilities
        } else {
            self.capabilities.without(Capabilities::RESUMES)
        };
        Self { transport, capabilities, ..self }
    }

    /// Its number, whatever the transport.
    pub const fn number(self) -> u8 {
        self.number
    }

    /// Its transport.
    pub const fn transport(self) -> Transport {
        self.transport
    }

    /// Whether clients can resume a session.
    pub const fn resumes(self) -> bool {
        self.capabilities.has(Capabilities::RESUMES)
    }

    /// Whether clients subscribe to channels, about which the application may be asked.
    pub const fn has_channels(self) -> bool {
        self.capabilities.has(Capabilities::CHANNELS)
    }

    /// Whether clients expect a ping of the protocol's own.
    pub const fn pings(self) -> bool {
        self.capabilities.has(Capabilities::PINGS)
    }

    /// Whether clients get events of each device of a member.
    pub(crate) const fn tells_records(self) -> bool {
        self.capabilities.has(Capabilities::RECORDS)
    }

    /// Whether several presence events make one message.
    pub const fn merges_events(self) -> bool {
        self.capabilities.has(Capabilities::MERGES_EVENTS)
    }

    /// Whether a presence event comes with the list of all members.
    pub(crate) const fn repeats_members(self) -> bool {
        self.capabilities.has(Capabilities::REPEATS_MEMBERS)
    }

    /// Whether clients know from the close code alone whether to reconnect.
    pub(crate) const fn goes_by_close_code(self) -> bool {
        self.capabilities.has(Capabilities::CLOSE_CODES)
    }

    /// Whether a client that leaves its name out has the one of its last join.
    pub const fn keeps_names(self) -> bool {
        self.capabilities.has(Capabilities::KEEPS_NAMES)
    }
}

/// What a subscriber is told about presence.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, strum::VariantArray,
)]
pub enum Watch {
    /// Joins, leaves and updates.
    #[default]
    Members,
    /// The number of members, at intervals.
    Occupancy,
}

/// Key of a group of subscribers of a stream, which get the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// Codec of their clients.
    pub codec: Codec,
    /// Presence messages they get.
    pub watch: Watch,
    /// Their name for the subscription.
    pub identifier: Identifier,
}

impl GroupKey {
    /// The group that gets every member's events.
    pub const fn new(codec: Codec, identifier: Identifier) -> Self {
        Self { codec, watch: Watch::Members, identifier }
    }
}

/// A client's id for a request, by which it finds the answer; in the wire form of its codec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The subscription's id: with another one, the client subscribes again.
    pub subscription: Option<Box<str>>,
    /// The request's.
    pub request: Option<Box<str>>,
}

impl Reference {
    /// What it weighs, in bytes.
    pub fn weight(&self) -> usize {
        [&self.subscription, &self.request].into_iter().flatten().map(|text| text.len()).sum()
    }
}
