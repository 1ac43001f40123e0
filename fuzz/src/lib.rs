//! Fuzz targets: a module for each decoder, and for the shard, with `run(data: &[u8])`, which panics when an
//! invariant is broken.
//!
//! The binaries in `fuzz_targets` pass libFuzzer's inputs to them; `tests/corpus.rs` includes this file and
//! passes the kept ones. A new target is a module here, a line in [`TARGETS`], a binary, and a folder of
//! seeds.

pub mod action_cable;
pub mod chat;
#[path = "../../tests/model/equal.rs"]
mod equal;
pub mod events;
pub mod flags;
mod frames;
pub mod handshake;
pub mod origins;
pub mod phoenix;
#[path = "../../tests/model/reference/presences.rs"]
mod presences;
pub mod publication;
#[path = "../../tests/model/replay.rs"]
mod replay;
pub mod replicas;
pub mod settings;
pub mod shard;
#[path = "../../tests/model/shard_settings.rs"]
mod shard_settings;
pub mod state;
pub mod stream_names;
pub mod tokens;
pub mod typed;
pub mod values;
pub mod websocket;

/// A target's function.
pub type Run = fn(&[u8]);

/// Every target by its name, which its binary and its corpus have too.
pub const TARGETS: [(&str, Run); 17] = [
    // what clients send
    ("handshake", handshake::run),
    ("origins", origins::run),
    ("tokens", tokens::run),
    ("websocket", websocket::run),
    ("action_cable", action_cable::run),
    ("phoenix", phoenix::run),
    ("typed", typed::run),
    ("chat", chat::run),
    ("events", events::run),
    ("stream_names", stream_names::run),
    // what the application sends
    ("publication", publication::run),
    // what operators write
    ("flags", flags::run),
    ("settings", settings::run),
    ("values", values::run),
    // what the broker wrote
    ("state", state::run),
    // what becomes of it
    ("shard", shard::run),
    ("replicas", replicas::run),
];

/// The text of an input, for decoders of text.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
