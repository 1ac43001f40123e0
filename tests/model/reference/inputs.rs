//! Steps of the model, and the shard's inputs they amount to.

use broker::types::{Join, PresenceId, RawJson, Repeat, SessionId, StreamCommand};

/// A step of the model.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Subscribe {
        key: Key,
        join: Option<Result<Presence, ()>>,
        history: bool,
        /// And whether the confirmation is said elsewhere.
        repeat: (Repeat, bool),
    },
    Join {
        key: Key,
        presence: Presence,
    },
    Command {
        key: Key,
        what: Command,
    },
    Publish {
        stream: usize,
        except: Option<usize>,
    },
    /// The application puts a record, for some milliseconds or for good.
    Put {
        stream: usize,
        presence: Presence,
        ttl: Option<u64>,
    },
    /// The application removes a member.
    Kick {
        stream: usize,
        id: PresenceId,
    },
    /// A connection ended; it is noticed some milliseconds late.
    End {
        connection: usize,
        late: u64,
    },
    /// Milliseconds pass, or none.
    Pass(u64),
    /// Expired records are removed.
    Expire,
    /// Replies are sent.
    Reply,
    /// Replies are sent, then `slices` slices of up to `max` subscribers.
    FanOut {
        slices: usize,
        max: usize,
    },
}

/// A connection, and its name for a subscription.
pub(crate) type Key = (usize, usize);

/// A member's id and info.
pub(crate) type Presence = Join;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    Unsubscribe,
    Leave,
    List,
    Count,
    History,
    Whisper,
    Refuse,
}

/// The shard's input for a step.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Command {
        subscription: usize,
        command: StreamCommand,
    },
    Ended {
        subscription: usize,
        late: u64,
    },
    Publish {
        stream: usize,
        data: RawJson,
        except: Option<SessionId>,
    },
    /// `is_new` is the answer; `None` if the stream is full.
    Put {
        stream: usize,
        presence: Presence,
        ttl: Option<u64>,
        is_new: Option<bool>,
    },
    /// `records` is the number of removed records.
    Kick {
        stream: usize,
        id: PresenceId,
        records: usize,
    },
}
