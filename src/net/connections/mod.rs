//! One connection over any transport: its opening, its task, its rate limit, its end, and the resume of
//! its session.

mod answers;
mod client;
mod connecting;
mod connection;
mod ending;
mod opening;
mod resume;
mod start;
mod throttle;

pub use connection::{Connection, Greeting};
pub(super) use opening::{Asked, Opening};
