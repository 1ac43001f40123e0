//! HTTP endpoints of the application, operators and Prometheus (publishing, presence, health, metrics),
//! and pages for people.
//!
//! Every response that isn't 2xx says why, as `{"error":"…"}`.

mod api;
mod body;
pub mod dashboard;
mod element;
pub mod pages;
mod presence;
pub mod publish;
mod put;
mod reply;
mod rooms;
mod routes;
mod status;

pub use api::Api;
pub use reply::recover;
pub use rooms::{Rooms, rooms};
pub use routes::api;
pub use status::{about, health, metrics};
