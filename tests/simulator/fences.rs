//! Nodes that the others believe dead, and logs that go on without them.

use std::time::Duration;

use broker::log::Change;

use crate::faults::{Fate, pause};
use crate::forgetting::epochs;
use crate::steps::{Step, What};
use crate::world::{NODES, World};

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
    world.pass_long(Duration::from_secs(5)); // longer than any TTL
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

/// Its new incarnation begins with a beat: so it is missed if that is all it does.
#[test]
fn who_dies_as_soon_as_it_is_back_is_believed_dead_again() {
    let mut world = World::new();
    world.settle();
    let id = world.nodes[0].id;
    let is_there = |world: &World| world.nodes[1].partition.nodes().any(|(node, _)| node == id);
    pause(&mut world, 0);
    world.step(&Step::Append { node: 1, fate: Fate::Stored }); // that it is gone
    world.step(&Step::Read { node: 1, batches: usize::MAX });
    assert!(!is_there(&world));
    world.step(&Step::Read { node: 0, batches: usize::MAX });
    world.step(&Step::Append { node: 0, fate: Fate::Stored }); // that it is back
    world.step(&Step::Read { node: 1, batches: usize::MAX });
    assert!(is_there(&world));
    pause(&mut world, 0);
    world.step(&Step::Append { node: 1, fate: Fate::Stored });
    world.step(&Step::Read { node: 1, batches: usize::MAX });
    assert!(!is_there(&world));
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
