//! Causes and outcomes, as metrics label them.

use serde::{Deserialize, Serialize};

/// Why a record was removed.
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
    /// The client's leave command.
    Left,
    /// The client's unsubscribe.
    Unsubscribed,
    /// The TTL after the connection's end is over.
    Expired,
    /// Removed by the application.
    Kicked,
}

/// How a member joined.
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
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "snake_case")]
pub enum JoinCause {
    /// By a join command.
    Joined,
    /// As part of subscribing.
    Subscribed,
    /// By the application.
    Put,
}

/// Why a member's info changed.
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
    /// A session or the application set another info.
    Changed,
    /// The session whose info was visible left; an earlier session's info is visible again.
    Departed,
}

/// Result of an attempt to resume a session.
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
    /// All subscriptions moved to the new connection.
    Resumed,
    /// Some did; the others missed too much and start anew.
    Partly,
    /// No such session, or it has expired.
    Unknown,
    /// The session belongs to another identity.
    Denied,
}

/// Why a publication was dropped from its history.
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
    /// The history is at its limit.
    Limit,
    /// Its TTL is over.
    Expired,
    /// All histories together are at their memory limit, and it was the oldest.
    Memory,
}

/// Result of a presence lookup.
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
    /// The application answered.
    Fetched,
    /// It had answered shortly before.
    Cached,
    /// No answer in time.
    Timeout,
    /// Unreachable, or an error status.
    Failed,
    /// A malformed answer.
    Invalid,
}
