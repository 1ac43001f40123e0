//! Calls and answers as JSON: the contract's messages with its names, as they go over HTTP.

mod answer;
mod request;

pub(super) use answer::{presence_reply, read};
pub(super) use request::{name, state_text, token_text, write};
