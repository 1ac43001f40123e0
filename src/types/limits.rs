//! What one client may ask for. Every limit is a setting; these are the defaults and why.

/// Bounds on what a client sends, apart from the size of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest presence id, in characters.
    pub presence_id_length: usize,
    /// Largest presence info, in bytes of JSON.
    pub info_size: usize,
    /// Longest stream name, in bytes.
    pub stream_name_size: usize,
    /// Longest subscription identifier, in bytes of its JSON form.
    pub identifier_size: usize,
    /// Most subscriptions of one session.
    pub subscriptions: usize,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            presence_id_length: Self::PRESENCE_ID_LENGTH,
            info_size: Self::INFO_SIZE,
            stream_name_size: Self::STREAM_NAME_SIZE,
            identifier_size: Self::IDENTIFIER_SIZE,
            subscriptions: Self::SUBSCRIPTIONS,
        }
    }
}
