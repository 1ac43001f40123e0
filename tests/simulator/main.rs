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
mod engine;
mod forgetting;
mod requests;
mod snapshots;
mod starts;
mod steps;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use broker::log::Change;

use engine::Fate;
use forgetting::epochs;
use steps::{Step, What, steps};
use world::{CLIENTS, NODES, Seen, World};

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

/// Number of expiries in the log, when everybody who was there has gone and a time has passed.
fn expiries(world: &mut World) -> usize {
    world.settle();
    for _ in 0..8 {
        world.step(&Step::Pass(500));
        world.settle();
    }
    world.count(|change| matches!(change, Change::Expired { .. }))
}

#[test]
fn an_expiry_is_proposed_once_by_the_node_that_noticed_the_end() {
    let mut world = World::new();
    world.settle();
    for client in 0..CLIENTS {
        world.step(&Step::End { client, to: 0, resumes: false });
    }
    let records = world.nodes[0].partition.shard().totals().records;
    assert_eq!((records, expiries(&mut world)), (records.max(1), records));
    assert_eq!(world.nodes[0].partition.shard().totals().records, 0);
}

#[test]
fn what_a_dead_node_leaves_is_expired_by_the_first_of_the_others() {
    let mut world = World::new();
    world.settle();
    for node in 0..NODES {
        world.step(&Step::Kill { node, earlier: None });
        world.settle();
    }
    let records = world.nodes[0].partition.shard().totals().records;
    assert_eq!((records, expiries(&mut world)), (records.max(1), records));
    assert_eq!(world.nodes[0].partition.shard().totals().records, 0);
}

/// A node stands still until the others believe it dead.
fn pause(world: &mut World, node: usize) {
    for _ in 0..5 {
        world.step(&Step::Pass(100));
        for other in (0..NODES).filter(|other| *other != node) {
            world.step(&Step::Beat { node: other });
            world.step(&Step::Accuse { node: other });
            world.step(&Step::Append { node: other, fate: Fate::Stored });
        }
        for other in (0..NODES).filter(|other| *other != node) {
            world.step(&Step::Read { node: other, batches: usize::MAX });
        }
    }
}

#[test]
fn who_is_connected_to_a_node_that_was_believed_dead_is_present_again() {
    let mut world = World::new();
    world.settle();
    let before = world.records();
    pause(&mut world, 0);
    assert_eq!(world.seen().gone, 0, "it hasn't read on");
    // ann's client on this node leaves one stream, which the others don't know yet
    world.step(&Step::Command { client: 0, stream: 1, what: What::Leave });
    world.settle();
    assert_eq!(world.seen().gone, 1);
    let after = world.records();
    assert!(
        before.len() > 3 && before.iter().filter(|record| !after.contains(record)).count() == 1
    );
    world.step(&Step::Pass(5000)); // longer than any TTL
    world.settle();
    assert_eq!(world.records(), after);
    world.check();
}

#[test]
fn what_isnt_in_the_log_when_its_node_is_believed_dead_never_comes() {
    let mut world = World::new();
    world.settle();
    world.step(&Step::Publish { node: 0, stream: 0 });
    world.settle();
    pause(&mut world, 0);
    world.step(&Step::Append { node: 1, fate: Fate::Stored }); // that it is gone
    world.step(&Step::Publish { node: 0, stream: 0 });
    world.step(&Step::Append { node: 0, fate: Fate::Stored });
    world.step(&Step::Put { node: 0, stream: 1, id: 0, has_ttl: false });
    world.step(&Step::Publish { node: 0, stream: 1 });
    assert_eq!(world.requests.dropped(), 0, "it hasn't read on");
    world.settle();
    world.step(&Step::Publish { node: 0, stream: 0 });
    world.settle();
    assert_eq!(world.requests.dropped(), 2);
    world.check();
    assert_eq!(world.count(|change| matches!(change, Change::Put { .. })), 0);
}

/// Its offsets may have been those of other publications, which clients have seen.
#[test]
fn where_a_log_forks_all_histories_begin_again() {
    let mut world = World::new();
    world.settle();
    let kept = |world: &World| {
        [0, 1, 2].map(|node| world.nodes[node].partition.shard().totals().publications)
    };
    world.step(&Step::Publish { node: 0, stream: 0 });
    world.settle();
    let (before, members) = (epochs(&mut world), world.records());
    assert_eq!(kept(&world), [1; NODES]);
    world.step(&Step::Fork);
    world.settle();
    assert_eq!((kept(&world), world.records()), ([0; NODES], members));
    let after = epochs(&mut world);
    assert!(!before.is_empty() && before.iter().all(|epoch| !after.contains(epoch)), "{after:?}");
    world.step(&Step::Publish { node: 0, stream: 0 });
    world.settle();
    assert_eq!(kept(&world), [1; NODES]);
    world.check();
}

#[test]
fn an_expiry_that_came_with_a_snapshot_is_proposed_by_the_others() {
    let mut world = World::new();
    world.settle();
    for client in 0..CLIENTS {
        world.step(&Step::End { client, to: 1, resumes: false });
    }
    world.settle();
    world.step(&Step::Snapshot { node: 1, slice: 1 });
    world.step(&Step::Kill { node: 0, earlier: Some(2) });
    let records = world.nodes[0].partition.shard().totals().records;
    assert_eq!((records, expiries(&mut world)), (records.max(1), records));
    assert_eq!(world.nodes[0].partition.shard().totals().records, 0);
}
