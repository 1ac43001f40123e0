//! Why presence changed.

/// Why a record went.
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
pub enum LeaveCause {
    /// The client said so.
    Left,
    /// The client gave up the subscription.
    Unsubscribed,
    /// The connection ended and nobody came back within the TTL.
    Expired,
    /// The application said so.
    Kicked,
}

/// How a member arrived.
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
pub enum JoinCause {
    /// By a command of its own.
    Joined,
    /// As part of subscribing.
    Subscribed,
    /// The application said so.
    Put,
}

/// Why others see a member differently.
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
pub enum UpdateCause {
    /// A session, or the application, set another info.
    Changed,
    /// The session that had set the info went; an earlier one's shows again.
    Departed,
}

/// What became of the wish to resume a session.
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
pub enum ResumeOutcome {
    /// All it followed moved to the new connection.
    Resumed,
    /// Some of it did; the rest was missed for too long and has to be followed anew.
    Partly,
    /// There is no such session, or no longer.
    Unknown,
    /// The session was given to somebody else.
    Denied,
}

/// Why a publication is no longer kept.
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
pub enum DropCause {
    /// Its stream has kept as many that are newer.
    Limit,
    /// It has been kept long enough.
    Expired,
    /// All histories together took too much memory, and it was the oldest.
    Memory,
}

/// How it went to ask the application about somebody who joins.
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
pub enum FetchOutcome {
    /// It was asked, and answered.
    Fetched,
    /// It had answered a moment ago.
    Cached,
    /// It didn't answer in time.
    Timeout,
    /// It couldn't be reached, or refused to answer.
    Failed,
    /// What it answered can't be understood.
    Invalid,
}
