//! Questions that commands depend on, and their answers.

use crate::types::{Call, CallFailure, Extra, Identifier, PresenceId, Reply, StreamName, Watch};

/// Number of a question, by which its answer finds what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u32);

/// A question that a command depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The application's data about a joining member.
    MemberData {
        /// The stream.
        stream: StreamName,
        /// The member.
        id: PresenceId,
    },
    /// Under which presence id a subscription is present, after all it has done so far. To be asked of its
    /// stream's shard at once, before anything else is forwarded.
    PresentAs {
        /// The stream.
        stream: StreamName,
        /// The subscription's identifier.
        identifier: Identifier,
        /// Presence messages it gets.
        watch: Watch,
    },
    /// What a command about a channel of the application does.
    Call(Box<Call>),
    /// The same call again, under this number, if the one of the ticket has failed meanwhile: the client repeats its
    /// command.
    CallAgain(u32),
    /// Whether the shards have applied all actions forwarded so far; to be answered once they have.
    Applied,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To [`Question::MemberData`]; `None` without data, or without an answer in time.
    MemberData(Extra),
    /// To [`Question::PresentAs`]; `None` if it isn't present.
    PresentAs(Option<PresenceId>),
    /// To [`Question::Call`]; or why there is no reply.
    Called(Result<Box<Reply>, CallFailure>),
    /// To [`Question::Applied`].
    Applied,
}
