//! What the engine loses: nodes put it back, and say so where they can't.

use crate::faults::Fate;
use crate::forgetting::epochs;
use crate::steps::Step;
use crate::world::{NODES, STREAMS, World};

fn publish(world: &mut World, node: usize, stream: usize) {
    world.step(&Step::Publish { node, stream });
    world.step(&Step::Append { node, fate: Fate::Stored });
}

/// A node reads on, so that it tells its clients.
fn read(world: &mut World, node: usize) {
    world.step(&Step::Read { node, batches: usize::MAX });
}

/// Everybody goes, and all streams are forgotten: whatever comes next begins one.
fn empty(world: &mut World) {
    for stream in 0..STREAMS {
        world.step(&Step::Leave { stream });
    }
    world.pass_long(std::time::Duration::from_secs(60));
}

#[test]
fn nobody_notices_what_all_nodes_put_back() {
    for batches in [1, usize::MAX] {
        let mut world = World::new();
        world.settle();
        publish(&mut world, 0, 0);
        read(&mut world, 1);
        let (members, before) = (world.records(), epochs(&mut world));
        world.step(&Step::Lose { batches, restarts: true, is_away: false });
        world.settle();
        world.check();
        assert_eq!((world.records(), epochs(&mut world)), (members, before));
        assert_eq!((world.seen().forks, world.seen().lost), (0, 0));
        assert_eq!(world.nodes[2].partition.shard().totals().publications, 1);
    }
}

/// Each of them has told its clients of a publication behind the same fork, which the engine has lost then.
#[test]
fn two_forks_at_a_place_begin_two_histories() {
    let mut world = World::new();
    world.settle();
    world.step(&Step::Cut { node: 2 });
    world.step(&Step::Lose { batches: 0, restarts: true, is_away: false });
    read(&mut world, 0);
    publish(&mut world, 0, 0);
    read(&mut world, 0);
    world.step(&Step::Cut { node: 0 });
    world.step(&Step::Heal { node: 2 });
    world.step(&Step::Pass(200));
    world.step(&Step::Lose { batches: usize::MAX, restarts: true, is_away: false });
    read(&mut world, 1);
    publish(&mut world, 1, 0);
    read(&mut world, 1);
    world.settle();
    world.check();
    assert_eq!((world.seen().forks, world.seen().lost), (2, 1));
}

/// What a stream begins with has the place of another one that the engine has lost.
#[test]
fn two_streams_that_begin_at_a_place_have_two_histories() {
    let mut world = World::new();
    empty(&mut world);
    assert_eq!(world.nodes[NODES - 1].partition.shard().totals().streams, 0);
    let subscribe = |world: &mut World, client| {
        let what = crate::steps::What::Subscribe { join: false };
        world.step(&Step::Command { client, stream: 0, what });
    };
    subscribe(&mut world, 0);
    subscribe(&mut world, 1);
    world.step(&Step::Beat { node: 0 });
    world.step(&Step::Append { node: 0, fate: Fate::Stored });
    read(&mut world, 0);
    publish(&mut world, 0, 0);
    read(&mut world, 0);
    world.step(&Step::Cut { node: 0 });
    world.step(&Step::Pass(200));
    world.step(&Step::Lose { batches: usize::MAX, restarts: true, is_away: false });
    read(&mut world, 1);
    publish(&mut world, 1, 0);
    read(&mut world, 1);
    world.settle();
    world.check();
    assert_eq!((world.seen().forks, world.seen().lost), (1, 1));
}

#[test]
fn what_was_on_its_way_before_a_loss_counts_once() {
    for restarts in [true, false] {
        let mut world = World::new();
        world.settle();
        world.step(&Step::Publish { node: 0, stream: 0 });
        world.step(&Step::Append { node: 0, fate: Fate::Delayed });
        world.step(&Step::Lose { batches: usize::MAX, restarts, is_away: false });
        world.step(&Step::Retry { node: 0 });
        world.settle();
        world.check();
        assert_eq!(world.nodes[1].partition.shard().totals().publications, 1);
    }
}
