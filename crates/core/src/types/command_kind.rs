//! Kinds of commands.

/// Kinds of commands, as metrics label them.
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
pub enum CommandKind {
    /// Subscribe.
    Subscribe,
    /// Unsubscribe.
    Unsubscribe,
    /// Join, or change the info of a member that has joined.
    Join,
    /// Leave.
    Leave,
    /// List the members.
    Presence,
    /// Send the history.
    History,
    /// Send a message to the stream's other subscribers, without keeping it.
    Whisper,
    /// Publish.
    Publish,
    /// Perform an action of a channel.
    #[strum(serialize = "message")]
    Perform,
    /// Ping.
    Ping,
    /// Answer a ping.
    Pong,
    /// Not a command.
    Unknown,
}
