//! Each expiry is in the log once, whatever becomes of the node that noticed the end.

use broker::log::Change;

use crate::steps::Step;
use crate::world::{CLIENTS, NODES, World};

/// Number of expiries in the log, when everybody who was there has gone and a time has passed.
fn expiries(world: &mut World) -> usize {
    world.settle();
    for _ in 0..8 {
        world.pass_beating(500);
    }
    world.count(|change| matches!(change, Change::Expired { .. }))
}

#[test]
fn an_expiry_is_proposed_once_by_the_node_that_noticed_the_end() {
    let mut world = World::new();
    world.settle();
    for client in 0..CLIENTS {
        world.step(&Step::End { client, to: 0, resumes: false, rival: None });
    }
    let records = world.nodes[0].partition.shard().totals().records;
    assert_eq!((records, expiries(&mut world)), (records.max(1), records));
    assert_eq!(world.nodes[0].partition.shard().totals().records, 0);
}

#[test]
fn what_a_dead_node_leaves_is_expired_by_the_first_of_the_others() {
    let mut world = World::new();
    world.settle();
    let records = world.nodes[0].partition.shard().totals().records;
    for node in 0..NODES {
        world.step(&Step::Kill { node, earlier: None });
        world.settle();
    }
    assert_eq!((records, expiries(&mut world)), (records.max(1), records));
    assert_eq!(world.nodes[0].partition.shard().totals().records, 0);
}

#[test]
fn an_expiry_that_came_with_a_snapshot_is_proposed_by_the_others() {
    let mut world = World::new();
    world.settle();
    for client in 0..CLIENTS {
        world.step(&Step::End { client, to: 1, resumes: false, rival: None });
    }
    world.settle();
    world.step(&Step::Snapshot { node: 1, slice: 1 });
    world.step(&Step::Kill { node: 0, earlier: Some(2) });
    let records = world.nodes[0].partition.shard().totals().records;
    assert_eq!((records, expiries(&mut world)), (records.max(1), records));
    assert_eq!(world.nodes[0].partition.shard().totals().records, 0);
}
