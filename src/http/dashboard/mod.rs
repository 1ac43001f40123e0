//! `GET /dashboard`, a page for operators, and `GET /dashboard/events`, the data it shows.
//!
//! The page itself reveals nothing and needs no key; its events do. They are server-sent events: a
//! snapshot every second, and the member events of the selected stream as they happen. The shards
//! aren't queried while no dashboard is open.

mod context;
mod event_stream;
mod route;
mod snapshot;

pub use context::Dashboard;
pub use route::{Lasting, PAGE, routes};
