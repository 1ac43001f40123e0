//! Streams that nobody uses are forgotten on all nodes, and only those.

use std::time::Duration;

use broker::log::Change;
use broker::types::{Epoch, StreamName};

use crate::steps::{Step, What};
use crate::world::{CLIENTS, NODES, STREAMS, World};

const MINUTE: Duration = Duration::from_secs(60);

/// Nodes with clients that are subscribed to all streams, and a publication in each.
fn world() -> World {
    let mut world = World::new();
    world.settle();
    for stream in 0..STREAMS {
        world.step(&Step::Publish { node: 0, stream });
    }
    world.settle();
    world
}

/// All clients but one end their connections. That one stays subscribed, and is no member.
fn end_all_but(world: &mut World, stays: Option<usize>) {
    for client in (0..CLIENTS).filter(|client| Some(*client) != stays) {
        world.step(&Step::End { client, to: 0, resumes: false, rival: None });
    }
    if let Some(client) = stays {
        for stream in 0..STREAMS {
            world.step(&Step::Command { client, stream, what: What::Leave });
        }
    }
    world.settle();
}

/// How often nodes have said that a stream is idle, used and forgotten.
fn said(world: &World) -> [usize; 3] {
    [
        world.count(|change| matches!(change, Change::Idle { .. })),
        world.count(|change| matches!(change, Change::Used { .. })),
        world.count(|change| matches!(change, Change::ForgottenByAll { .. })),
    ]
}

/// How many streams each node has.
fn streams(world: &World) -> [usize; NODES] {
    [0, 1, 2].map(|node| world.nodes[node].partition.shard().totals().streams)
}

/// Epochs of the streams.
pub(crate) fn epochs(world: &mut World) -> Vec<(StreamName, Epoch)> {
    let output = world.nodes[0].partition.shard_mut().commit(|_| ());
    let entries = output.snapshot(0, usize::MAX).0.into_iter();
    let epochs = entries.filter_map(|entry| {
        let Change::Snapshot { epoch, .. } = entry.change else { return None };
        Some((entry.stream, epoch))
    });
    epochs.collect()
}

/// Lets time pass until a node has said that a stream is idle.
fn pass_until_idle(world: &mut World) {
    while said(world)[0] == 0 {
        world.pass_long(Duration::from_secs(1));
    }
}

#[test]
fn what_nobody_uses_is_forgotten_with_two_entries() {
    let mut world = world();
    end_all_but(&mut world, None);
    world.pass_long(Duration::from_secs(12));
    assert_eq!((streams(&world), said(&world)), ([STREAMS; NODES], [0; 3]), "it is too early");
    world.pass_long(MINUTE);
    assert_eq!((streams(&world), said(&world)), ([0; NODES], [STREAMS, 0, STREAMS]));
}

#[test]
fn what_one_node_uses_stays_and_is_forgotten_when_it_does_not() {
    for client in 0..NODES {
        let mut world = world();
        let before = epochs(&mut world);
        end_all_but(&mut world, Some(client));
        world.pass_long(20 * MINUTE);
        assert_eq!(said(&world), [STREAMS, STREAMS, 0], "of node {client}");
        // it is told once more, when it may have changed, though it has not
        world.step(&Step::Publish { node: client, stream: 0 });
        world.pass_long(MINUTE);
        assert_eq!((epochs(&mut world), said(&world)), (before, [STREAMS, STREAMS, 0]));
        end_all_but(&mut world, None);
        world.pass_long(MINUTE);
        assert_eq!(streams(&world), [0; NODES]);
        assert_eq!(said(&world), [2 * STREAMS, STREAMS, STREAMS]);
    }
}

#[test]
fn what_a_node_used_that_is_gone_is_forgotten() {
    for client in 0..NODES {
        let mut world = world();
        end_all_but(&mut world, Some(client));
        world.pass_long(MINUTE);
        world.step(&Step::Kill { node: client, earlier: None });
        world.settle();
        assert_eq!(streams(&world), [STREAMS; NODES]);
        world.pass_long(MINUTE);
        assert_eq!(streams(&world), [0; NODES], "node {client}");
    }
}

#[test]
fn the_others_forget_what_a_node_called_idle_that_is_gone() {
    let mut world = world();
    end_all_but(&mut world, None);
    pass_until_idle(&mut world);
    assert_eq!((streams(&world), said(&world)), ([STREAMS; NODES], [STREAMS, 0, 0]));
    world.step(&Step::Snapshot { node: 1, slice: 1 });
    world.step(&Step::Kill { node: 0, earlier: Some(0) });
    world.settle();
    world.pass_long(Duration::from_secs(5));
    let [idle, used, _] = said(&world);
    assert_eq!((streams(&world), idle, used), ([0; NODES], STREAMS, 0));
}

#[test]
fn what_comes_and_goes_meanwhile_keeps_a_stream_for_another_while() {
    for joins in [false, true] {
        let mut world = world();
        let before = epochs(&mut world);
        end_all_but(&mut world, None);
        pass_until_idle(&mut world);
        for stream in 0..STREAMS {
            let what = What::Subscribe { join: joins };
            world.step(&Step::Command { client: 0, stream, what });
        }
        world.settle();
        end_all_but(&mut world, None);
        world.pass_long(Duration::from_secs(9));
        assert_eq!(epochs(&mut world), before);
        assert_eq!(said(&world), [STREAMS, if joins { 0 } else { STREAMS }, 0]);
        world.pass_long(MINUTE);
        assert_eq!(streams(&world), [0; NODES]);
    }
}

#[test]
fn each_node_says_a_thing_once_while_the_engine_stands() {
    let mut world = world();
    end_all_but(&mut world, None);
    world.pass_long(Duration::from_secs(6));
    for _ in 0..300 {
        world.hear_beats(); // in the log that has them
        world.step(&Step::Pass(1000));
    }
    world.settle();
    assert_eq!(said(&world), [NODES * STREAMS, 0, 0]);
    world.pass_long(MINUTE);
    assert_eq!((streams(&world), said(&world)), ([0; NODES], [NODES * STREAMS, 0, STREAMS]));
}

#[test]
fn a_stream_that_is_forgotten_stays_where_it_has_subscribers() {
    let mut world = world();
    end_all_but(&mut world, None);
    world.pass_long(MINUTE);
    world.step(&Step::Command { client: 0, stream: 0, what: What::Subscribe { join: false } });
    world.pass_long(MINUTE);
    assert_eq!((streams(&world), said(&world)), ([1, 0, 0], [STREAMS, 0, STREAMS]));
    end_all_but(&mut world, None);
    assert_eq!(streams(&world), [0; NODES], "it never began again");
}
