//! One connection over any transport: its opening, its task, its rate limit, its end, and the resume of
//! its session.

mod answers;
mod client;
mod connection;
mod ending;
mod opening;
mod resume;
mod throttle;

pub use connection::Connection;
pub(super) use opening::Opening;
