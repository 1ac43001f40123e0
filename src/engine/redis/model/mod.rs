//! All that can happen to a small log: two or three nodes, few batches, and a server that loses them. Every order of it
//! is tried out, and in each state must be so:
//!
//! - What a node has told is in the settled log, where it was, or there is a fork in its place.
//! - A batch is told behind the same one everywhere, so once, and at one place.
//! - A node isn't lost unless it was paused or cut off, and was told something that the log hasn't.
//! - Whatever has happened, by themselves all nodes can come to have all of the log.
//!
//! What the scripts do is in [`server`], and [`scripts`] compares it with a real Redis. What followers decide is
//! [`decisions`](super::decisions) itself. Time isn't modelled: a pause, or a cut,
//! lasts until the others wait no longer.
//!
//! `make recovery` tries more of everything.

mod node;
mod scripts;
mod server;
mod steps;
mod world;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use foldhash::fast::RandomState;

use world::{Event, Scope, World};

/// What was found.
#[derive(Debug, Default)]
struct Found {
    states: usize,
    steps: usize,
    /// How often a log was forked, and a node was lost.
    forked: usize,
    lost: usize,
    /// States in which all nodes have all.
    calm: usize,
}

/// All states that were reached, by number.
#[derive(Default)]
struct Explorer {
    numbers: HashMap<u128, u32, RandomState>,
    /// Those that are visited next.
    worlds: VecDeque<World>,
    /// From where each was first reached, and how.
    origins: Vec<(u32, Option<Event>)>,
    /// What happens by itself.
    sure: Vec<(u32, u32)>,
}

impl Explorer {
    fn reach(&mut self, world: World, origin: u32, event: Option<Event>) -> u32 {
        let next = u32::try_from(self.origins.len()).unwrap();
        match self.numbers.entry(world.canonical()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                new.insert(next);
                self.worlds.push_back(world);
                self.origins.push((origin, event));
                next
            }
        }
    }

    /// How a world was reached.
    fn story(&self, mut number: u32, first: World) -> String {
        let mut events = Vec::new();
        while let (origin, Some(event)) = self.origins[number as usize] {
            events.push((event, number));
            number = origin;
        }
        let (mut world, mut text) = (first, String::new());
        for (event, number) in events.into_iter().rev() {
            let is_it = |world: &World| self.numbers.get(&world.canonical()) == Some(&number);
            world = world.next().into_iter().map(|(_, next)| next).find(is_it).unwrap();
            writeln!(text, "{event}\n{world}").unwrap();
        }
        text
    }
}

/// Visits all states that can follow, the nearest first.
fn explore(first: &World) -> Result<Found, String> {
    let mut found = Found::default();
    let mut explorer = Explorer::default();
    explorer.reach(first.clone(), 0, None);
    let mut calm = Vec::new();
    while let Some(world) = explorer.worlds.pop_front() {
        let at = u32::try_from(found.states).unwrap();
        if world.is_calm() {
            calm.push(at);
        }
        for (event, next) in world.next() {
            found.steps += 1;
            let fault = next.fault;
            found.lost += usize::from(next.lost > world.lost);
            found.forked += usize::from(next.forks.len() > world.forks.len());
            let to = explorer.reach(next, at, Some(event));
            if event.is_sure {
                explorer.sure.push((to, at));
            }
            if let Some(fault) = fault {
                return Err(format!("{fault}\n{}", explorer.story(to, first.clone())));
            }
        }
        found.states += 1;
    }
    found.calm = calm.len();
    let mut arrives = vec![false; found.states];
    explorer.sure.sort_unstable();
    let mut open = calm;
    while let Some(to) = open.pop() {
        if std::mem::replace(&mut arrives[to as usize], true) {
            continue;
        }
        let from = explorer.sure.partition_point(|(other, _)| *other < to);
        let into = explorer.sure[from..].iter().take_while(|(other, _)| *other == to);
        open.extend(into.map(|(_, at)| *at));
    }
    match arrives.iter().position(|arrives| !arrives) {
        Some(stuck) => {
            let story = explorer.story(u32::try_from(stuck).unwrap(), first.clone());
            Err(format!("it never becomes calm\n{story}"))
        }
        None => Ok(found),
    }
}

/// Checks all that can follow; there are so many states at least.
fn check(first: &World, states: usize) {
    match explore(first) {
        Ok(found) => {
            println!("{:?}: {found:?}", first.scope);
            assert!(found.states >= states, "only {found:?}");
        }
        Err(story) => panic!("{:?}\n{story}", first.scope),
    }
}

/// Two nodes that have nothing yet, and little room for messages.
const TWO: Scope = Scope {
    nodes: 2,
    entries: 1,
    delays: 0,
    flushes: 0,
    failovers: 0,
    restarts: 0,
    pauses: 0,
    kills: 0,
    breaks: 0,
    inbox: 2,
};

#[test]
fn a_flush() {
    check(&World::new(Scope { entries: 2, flushes: 1, ..TWO }), 50_000);
    check(&World::new(Scope { flushes: 1, breaks: 1, ..TWO }), 10_000);
}

#[test]
fn a_flush_and_a_pause() {
    check(&World::new(Scope { flushes: 1, pauses: 1, ..TWO }), 50_000);
}

#[test]
fn a_flush_and_a_kill_with_a_batch_on_its_way() {
    check(&World::new(Scope { flushes: 1, kills: 1, delays: 1, ..TWO }), 10_000);
}

#[test]
fn a_restart_with_a_batch_on_its_way() {
    check(&World::new(Scope { restarts: 1, delays: 1, ..TWO }), 9_000);
}

#[test]
fn a_failover_and_a_pause() {
    check(&World::new(Scope { failovers: 1, pauses: 1, ..TWO }), 50_000);
}

#[test]
fn two_flushes() {
    check(&World::new(Scope { flushes: 2, ..TWO }), 50_000);
}

#[test]
fn a_flush_behind_a_failover_that_a_node_missed() {
    check(&World::split(Scope { flushes: 1, ..TWO }), 10_000);
}

#[test]
fn a_flush_with_three_nodes() {
    check(&World::new(Scope { nodes: 3, flushes: 1, ..TWO }), 90_000);
}

/// More of everything: `make recovery`.
#[test]
#[ignore = "takes minutes, and some GiB"]
fn large_scopes() {
    for first in [
        World::new(Scope { entries: 2, flushes: 2, ..TWO }),
        World::new(Scope { entries: 2, failovers: 2, ..TWO }),
        World::new(Scope { entries: 2, restarts: 1, kills: 1, delays: 1, ..TWO }),
        World::new(Scope { entries: 2, flushes: 1, pauses: 1, ..TWO }),
        World::new(Scope { entries: 2, failovers: 1, pauses: 1, ..TWO }),
        World::split(Scope { entries: 2, flushes: 1, ..TWO }),
        World::new(Scope { nodes: 3, flushes: 1, pauses: 1, ..TWO }),
        World::new(Scope { flushes: 1, failovers: 1, pauses: 1, ..TWO }),
    ] {
        check(&first, 100_000);
    }
}
