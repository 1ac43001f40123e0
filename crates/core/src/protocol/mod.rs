//! Protocols: payloads ↔ neutral messages, and bytes of a transport ↔ payloads. Pure.
//!
//! ```text
//! ServerMessage ─ WireFormat::encode ─▶ payload ─ Transport::frame ─▶ bytes
//! Request ◀─ WireFormat::decode ─ text ◀─ websocket::Reader, or a post
//! ```
//!
//! Each protocol has a folder with its wire format, and a row in [`PROTOCOLS`]. [`encode`] and its
//! like look a [`Codec`](crate::types::Codec)'s row up.

pub mod action_cable;
pub mod chat;
pub mod meta;
pub mod phoenix;
pub mod plain;
pub mod polled;
pub mod query;
pub mod sse;
pub mod typed;
pub mod websocket;

mod framing;
mod handshake;
mod ping;
mod read;
mod registry;
mod room;
mod row;
mod wire;
mod wire_format;
mod write;

pub use handshake::{BadOffer, HandshakeParams, Offer, ReadOffer};
pub use ping::{PingParameters, PingPrecision};
pub use registry::{PROTOCOLS, codec, resumable};
pub use row::Protocol;
pub use wire::{
    decode, decode_connecting, decode_head, encode, encode_close, encode_connection,
    encode_message, encode_run, is_nameless,
};
pub use wire_format::{Audience, Peer, Sender, WireFormat};

#[cfg(test)]
mod tests;
