//! One connection, whatever carries it: how it begins, its task, how fast it may be, how it ends, and
//! how the next one goes on with its session.

mod answers;
mod connection;
mod ending;
mod opening;
mod resume;
mod throttle;

pub use connection::Connection;
pub(super) use opening::Opening;
