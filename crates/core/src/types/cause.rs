//! Why presence changed.

/// Why a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl LeaveCause {
    /// Every cause, for metrics that must exist before they count.
    pub const ALL: [Self; 4] = [Self::Left, Self::Unsubscribed, Self::Expired, Self::Kicked];

    /// The cause in a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Unsubscribed => "unsubscribed",
            Self::Expired => "expired",
            Self::Kicked => "kicked",
        }
    }
}

/// How a member arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinCause {
    /// By a command of its own.
    Joined,
    /// As part of subscribing.
    Subscribed,
    /// The application said so.
    Put,
}

impl JoinCause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::Joined, Self::Subscribed, Self::Put];

    /// The cause in a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Subscribed => "subscribed",
            Self::Put => "put",
        }
    }
}

/// Why others see a member differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateCause {
    /// A session, or the application, set another info.
    Changed,
    /// The session that had set the info went; an earlier one's shows again.
    Departed,
}

impl UpdateCause {
    /// Every cause.
    pub const ALL: [Self; 2] = [Self::Changed, Self::Departed];

    /// The cause in a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Departed => "departed",
        }
    }
}

/// What became of the wish to resume a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl ResumeOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Resumed, Self::Partly, Self::Unknown, Self::Denied];

    /// The outcome in a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Partly => "partly",
            Self::Unknown => "unknown",
            Self::Denied => "denied",
        }
    }
}

/// Why a publication is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// Its stream has kept as many that are newer.
    Limit,
    /// It has been kept long enough.
    Expired,
    /// All histories together took too much memory, and it was the oldest.
    Memory,
}

impl DropCause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::Limit, Self::Expired, Self::Memory];

    /// The cause in a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Expired => "expired",
            Self::Memory => "memory",
        }
    }
}

/// How it went to ask the application about somebody who joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl FetchOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Fetched, Self::Cached, Self::Timeout, Self::Failed, Self::Invalid];

    /// The outcome in a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Cached => "cached",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
        }
    }
}
