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

mod engine;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use world::{Seen, World, steps};

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
    let (mut batches, mut waited, mut all) = (0, 0, Seen::default());
    for _ in 0..30 {
        let mut world = World::new();
        for step in &steps().new_tree(&mut runner).unwrap().current() {
            world.step(step);
            let waiting = world.nodes.iter().map(|node| node.partition.shard().waiting());
            waited += waiting.max().unwrap();
        }
        world.settle();
        batches += world.engine.log.len();
        let Seen { resumed, refused, gone } = world.seen();
        all.resumed += resumed;
        all.refused += refused;
        all.gone += gone;
    }
    assert!(batches > 300 && waited > 1000, "{batches} {waited}");
    assert!(all.resumed > 8 && all.refused > 20 && all.gone > 10, "{all:?}");
}
