//! Limits on clients' commands. All are settings; these are the defaults, with reasons.

/// Limits on what a client sends, besides the size of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of a presence id, in characters.
    pub presence_id_length: usize,
    /// Presence ids that are refused, since they break clients of an enabled protocol.
    pub reserved_presence_ids: &'static [ReservedIds],
    /// Maximum size of a presence info, in bytes of JSON.
    pub info_size: usize,
    /// Maximum size of a stream name, in bytes.
    pub stream_name_size: usize,
    /// Maximum size of a subscription identifier, in bytes of JSON.
    pub identifier_size: usize,
    /// Maximum number of a session's subscriptions.
    pub subscriptions: usize,
    /// Maximum number of a session's presence records.
    pub records: usize,
    /// Maximum rate of commands; `None` is unlimited.
    pub pace: Option<Pace>,
}

/// Presence ids that break a protocol's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedIds {
    /// The ids.
    pub ids: &'static [&'static str],
    /// Why, for whoever chose one.
    pub reason: &'static str,
}

/// Rate of a client's messages and control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Per second.
    pub per_second: u32,
    /// Burst; at least those of a second.
    pub burst: u32,
}

/// A limit for which commands are refused, named like its setting.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::AsRefStr,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Limit {
    /// Rate of commands.
    CommandsPerSecond,
    /// Subscriptions of a session.
    Subscriptions,
    /// Size of an identifier.
    IdentifierSize,
    /// Size of a stream name.
    StreamNameSize,
    /// Length of a presence id.
    PresenceIdLength,
    /// Size of a presence info.
    PresenceInfoSize,
    /// Presence records of a session.
    Records,
    /// Members of a stream.
    Members,
    /// Size of a list or history.
    AnswerSize,
}

impl Limits {
    /// Why a presence id is reserved, if it is.
    pub fn reserved(&self, id: &str) -> Option<&'static str> {
        let reserved =
            self.reserved_presence_ids.iter().find(|reserved| reserved.ids.contains(&id));
        reserved.map(|reserved| reserved.reason)
    }

    /// Room for a UUID, an e-mail address or a global id.
    const PRESENCE_ID_LENGTH: usize = 128;
    /// A name, an avatar's URL and some state. Every list and every join repeats it.
    const INFO_SIZE: usize = 4096;
    /// Room for a signed global id with its parameters.
    const STREAM_NAME_SIZE: usize = 1024;
    /// A channel name with its parameters, or a signed stream name. Every frame repeats it.
    const IDENTIFIER_SIZE: usize = 4096;
    /// Far more than a page needs; low enough that one client can't exhaust the memory.
    pub const SUBSCRIPTIONS: usize = 1000;
    /// One per subscription: a page may be present in all streams it follows.
    pub const RECORDS: usize = Self::SUBSCRIPTIONS;
    /// No default: a drawing surface sends a cursor sixty times a second, a server on behalf of its
    /// users far more. Only the application knows what is too fast.
    pub const PACE: Option<Pace> = None;
    /// Default burst, in seconds of the rate: the commands of a page that reconnects, or that a bad
    /// network delivers late.
    pub const BURST_SECONDS: u32 = 4;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            presence_id_length: Self::PRESENCE_ID_LENGTH,
            reserved_presence_ids: &[],
            info_size: Self::INFO_SIZE,
            stream_name_size: Self::STREAM_NAME_SIZE,
            identifier_size: Self::IDENTIFIER_SIZE,
            subscriptions: Self::SUBSCRIPTIONS,
            records: Self::RECORDS,
            pace: Self::PACE,
        }
    }
}
