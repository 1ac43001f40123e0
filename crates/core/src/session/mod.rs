//! One connection's session: its subscriptions and its client's rights. Pure.
//!
//! The input is a client's command, the output an [`Action`]: a command for a stream's shard, or an answer
//! that needs no stream. Answers about an existing subscription always come from the stream's shard, so
//! that they are in the stream's order.
//!
//! If a command depends on the application or on the shards, the action is a question with a
//! [`Ticket`], and the answer comes back as an input ([`Session::answer`]). Meanwhile commands about the
//! same subscription wait in the session, in order; commands about others don't (`tickets`). What a shard
//! decided about a join comes back the same way, where the client is named by it (`naming`). What commands about the
//! application's channels do, the application says (`calling`).

mod action;
mod application;
mod asking;
mod calling;
mod channels;
mod naming;
mod question;
mod refusals;
#[expect(clippy::module_inception, reason = "the type is called as the room")]
mod session;
mod subscription;
mod tickets;

pub use action::{Action, Consequence};
pub use channels::Channels;
pub use question::{Question, Ticket, Verdict};
pub use refusals::{check_presence, refuse_excess};
pub use session::Session;
pub use subscription::Subscription;

#[cfg(test)]
mod tests;
