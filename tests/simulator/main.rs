//! Nodes that share a log, under all that an engine and a network can do to them. Whatever happens, all nodes hold
//! the same streams, and each client sees one story: its list and the events after it give the list that it
//! asks for next.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
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
mod clients;
mod engine;
mod expiries;
mod faults;
mod fences;
mod following;
mod forgetting;
mod node;
mod oracles;
mod requests;
mod settling;
mod snapshots;
mod starts;
mod steps;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use steps::steps;
use world::{Seen, World};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nodes_agree_whatever_happens(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
        world.check();
        world.end();
    }
}

/// Else the property above would say little.
#[test]
fn much_happens_to_nodes() {
    let mut runner = TestRunner::deterministic();
    let (mut batches, mut waited, mut dropped, mut answered, mut all) =
        (0, 0, 0, 0, Seen::default());
    for _ in 0..40 {
        let mut world = World::new();
        for step in &steps().new_tree(&mut runner).unwrap().current() {
            world.step(step);
            let waiting = world.nodes.iter().map(|node| node.partition.shard().waiting());
            waited += waiting.max().unwrap();
        }
        world.settle();
        batches += world.engine.log.len();
        dropped += world.requests.dropped();
        answered += world.asks.sums().0.len();
        let Seen { resumed, refused, gone, spared, forgotten } = world.seen();
        all.resumed += resumed;
        all.refused += refused;
        all.gone += gone;
        all.spared += spared;
        all.forgotten += forgotten;
    }
    assert!(batches > 300 && waited > 1000, "{batches} {waited}");
    assert!(all.resumed > 8 && all.refused > 20 && all.gone > 10 && all.spared > 100, "{all:?}");
    assert!(all.forgotten > 5 && dropped > 1 && answered > 20, "{dropped} {answered} {all:?}");
}
