//! Calls over HTTP/1.1: `POST {host}/connect`, `/command`, `/disconnect` with JSON bodies.

mod client;
mod pool;
#[cfg(test)]
mod tests;

pub(super) use client::Http;
