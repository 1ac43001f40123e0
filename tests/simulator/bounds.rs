//! How soon those have left who are gone, while nodes work as fast as they should.

use std::time::Duration;

use crate::faults::Fate;
use crate::steps::Step;
use crate::world::{INTERVAL, LEASE, NODES, SETTINGS, World};

const TICK: Duration = Duration::from_millis(50);

/// A tick passes. Each node beats in time, accuses, appends and reads.
fn tick(world: &mut World, number: u32) {
    world.step(&Step::Pass(TICK.as_millis().try_into().unwrap()));
    for node in 0..NODES {
        if number.is_multiple_of(2) {
            world.step(&Step::Beat { node });
        }
        world.step(&Step::Accuse { node });
        world.step(&Step::Append { node, fate: Fate::Stored });
    }
    for node in 0..NODES {
        world.step(&Step::Read { node, batches: usize::MAX });
    }
}

/// Time until nobody is there who was at a node that has been killed. For some ticks the engine stands still.
fn left(killed: usize, stands: std::ops::Range<u32>) -> Duration {
    let mut world = World::new();
    (0..20).for_each(|number| tick(&mut world, number));
    let before = world.records();
    let id = world.nodes[killed].id;
    assert!(before.iter().any(|(_, session)| id.has(*session)));
    world.step(&Step::Kill { node: killed, earlier: None });
    let mut passed = Duration::ZERO;
    for number in 0..400 {
        if stands.contains(&number) {
            world.step(&Step::Stall);
            world.step(&Step::Pass(TICK.as_millis().try_into().unwrap()));
            continue;
        }
        for node in 0..NODES {
            world.step(&Step::Heal { node });
            world.step(&Step::Retry { node });
        }
        tick(&mut world, number);
        passed += TICK;
        let ended =
            world.order.after.last().unwrap().records.keys().any(crate::records::Key::is_ended);
        let stays = world.connected().iter().any(|(_, session)| id.has(*session));
        if !ended && !stays {
            let others = before.iter().filter(|(_, session)| !id.has(*session));
            assert!(others.clone().count() > 0);
            let now = world.connected();
            assert!(others.clone().all(|record| now.contains(record)), "only they have left");
            return passed;
        }
    }
    panic!("they stay")
}

/// A lease from the beat that doesn't come, the TTL, and the second that others wait.
#[test]
fn who_was_at_a_dead_node_has_left_within_the_bound() {
    let bound = LEASE + INTERVAL + SETTINGS.presence_ttl + Duration::from_secs(1) + 2 * INTERVAL;
    for killed in 0..NODES {
        let passed = left(killed, 0..0);
        assert!(passed >= LEASE + SETTINGS.presence_ttl, "{passed:?}");
        assert!(passed <= bound, "{passed:?} of {bound:?}");
    }
}

#[test]
fn an_engine_that_stands_counts_for_nobody() {
    let bound = LEASE + INTERVAL + SETTINGS.presence_ttl + Duration::from_secs(1) + 2 * INTERVAL;
    for begin in [2, 8, 14] {
        let passed = left(1, begin..begin + 240); // twelve seconds
        // what is silent for no longer than this still counts
        let counted = crate::world::SILENCE + 2 * INTERVAL;
        assert!(passed + counted >= LEASE + SETTINGS.presence_ttl, "{passed:?}");
        assert!(passed <= bound, "{passed:?} of {bound:?}");
    }
}
