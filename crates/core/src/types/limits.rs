//! What one client may ask for. Every limit is a setting; these are the defaults and why.

/// Bounds on what a client sends, apart from the size of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest presence id, in characters.
    pub presence_id_length: usize,
    /// Presence ids that may not be, as clients of a protocol that is spoken fail over them.
    pub reserved_presence_ids: &'static [&'static str],
    /// Largest presence info, in bytes of JSON.
    pub info_size: usize,
    /// Longest stream name, in bytes.
    pub stream_name_size: usize,
    /// Longest subscription identifier, in bytes of its JSON form.
    pub identifier_size: usize,
    /// Most subscriptions of one session.
    pub subscriptions: usize,
    /// Most presence records of one session.
    pub records: usize,
    /// How fast one connection may send; none is as fast as it likes.
    pub pace: Option<Pace>,
}

/// How fast a client may send: messages and control frames alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So many a second.
    pub per_second: u32,
    /// So many at once; at least those of a second.
    pub burst: u32,
}

/// A limit for which commands are refused, by the setting that it is.
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
    /// Commands that one connection sends in a time.
    CommandsPerSecond,
    /// Subscriptions of one session.
    Subscriptions,
    /// The length of a subscription's identifier.
    IdentifierSize,
    /// The length of a stream's name.
    StreamNameSize,
    /// The length of a presence id.
    PresenceIdLength,
    /// The size of a presence info.
    PresenceInfoSize,
    /// Presence records of one session.
    Records,
    /// Members of one stream.
    Members,
    /// The size of a list or a history.
    AnswerSize,
}

impl Limits {
    /// Room for a UUID, an e-mail address or a global id.
    pub const PRESENCE_ID_LENGTH: usize = 128;
    /// A name, a picture's address and some state. It is repeated in every list and every join.
    pub const INFO_SIZE: usize = 4096;
    /// Room for a signed global id with its parameters.
    pub const STREAM_NAME_SIZE: usize = 1024;
    /// A channel name with its parameters or a signed stream name; it is repeated in every frame.
    pub const IDENTIFIER_SIZE: usize = 4096;
    /// Far more than a page has; low enough that one client can't fill the memory with them.
    pub const SUBSCRIPTIONS: usize = 1000;
    /// One for each subscription: a page may be present wherever it follows.
    pub const RECORDS: usize = Self::SUBSCRIPTIONS;
    /// A drawing surface sends a cursor sixty times a second, a server on behalf of its users far
    /// more: what is too fast only the application knows, and stricter than it no default may be.
    pub const PACE: Option<Pace> = None;
    /// How many seconds' worth may come at once, if nothing else is said: the commands of a page
    /// that connects again, and those that a bad network delivers late.
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
