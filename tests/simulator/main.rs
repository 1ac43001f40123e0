//! Nodes that share a log, under all that an engine and a network can do to them. Whatever happens, all nodes hold
//! the same streams, and each client sees one story: its list and the events after it give the list that it
//! asks for next. README.md says what happens, and which check holds what.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

#[path = "../model/replay.rs"]
#[expect(dead_code, reason = "this needs a part of it")]
mod replay;
#[path = "../model/shard_settings.rs"]
mod shard_settings;
#[path = "../model/subscriber.rs"]
mod subscriber;

mod asks;
mod bounds;
mod clients;
mod digests;
mod engine;
mod expiries;
mod faults;
mod fences;
mod following;
mod forgetting;
mod losses;
mod mutations;
mod node;
mod oracles;
mod order;
mod records;
mod requests;
mod rules;
mod seeds;
mod sessions;
mod settling;
mod snapshots;
mod starts;
mod steps;
mod versions;
mod watchers;
mod world;
