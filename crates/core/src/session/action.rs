//! Actions: the session's output for a command.

use super::question::{Question, Ticket};
use crate::types::{
    CloseReason, CommandKind, ConnectionMessage, Identifier, ServerMessage, StreamCommand,
    StreamName, Watch,
};

/// What the connection has to do about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The stream's shard decides and answers.
    Forward {
        /// The stream.
        stream: StreamName,
        /// The client's name for its subscription.
        identifier: Identifier,
        /// Presence messages it gets.
        watch: Watch,
        /// The command.
        command: StreamCommand,
    },
    /// Send a message about a subscription, without its stream.
    Refuse {
        /// Kind of the command.
        kind: CommandKind,
        /// The client's name for the subscription.
        identifier: Identifier,
        /// The message.
        message: ServerMessage,
    },
    /// Send a message about the connection.
    Answer {
        /// Kind of the command.
        kind: CommandKind,
        /// The message.
        message: ConnectionMessage,
    },
    /// Get the answer to a question, and pass it to [`Session::answer`](super::Session::answer).
    Ask {
        /// The question's ticket.
        ticket: Ticket,
        /// The question.
        question: Question,
    },
    /// Do what follows from an answer of the application.
    Follow(Consequence),
    /// Nothing yet: the command waits, and [`Session::poll_action`](super::Session::poll_action) returns its
    /// action later.
    Wait,
    /// Nothing: the command needs no answer.
    Nothing(CommandKind),
}

/// What follows from an answer of the application, or from its absence, besides commands for streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Hold back what is sent to the client, until [`Consequence::Uncork`]: whoever has seen the messages that follow is sent
    /// everything that the new streams say from then on.
    Cork,
    /// Send its messages, before anything that follows.
    Transmit(Vec<String>),
    /// Send what was held back: the streams have the commands that follow from the answer.
    Uncork,
    /// Close the connection.
    Close(CloseReason),
    /// Keep [what the application knows](super::Session::state), before anything that follows.
    Keep,
    /// Log a fault in the answer.
    Report(&'static str),
}
