//! Seeds: each one is a world, and what happens to it.
//!
//! `SIMULATOR_SEEDS=100000` tries so many instead of [`SEEDS`], `SIMULATOR_SEED=7` this one alone. A seed that fails is
//! printed, with the fewest steps that fail.

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::steps::{Step, steps};
use crate::world::{CLIENTS, COUNTERS, MAX_NODES, NODES, Seen, World};

/// How many are tried.
const SEEDS: u64 = 2000;

/// Sums of what happened in all worlds.
#[derive(Debug, Default)]
struct Sums {
    seen: Seen,
    batches: usize,
    waited: usize,
    dropped: usize,
    answered: usize,
}

impl Sums {
    fn add(&mut self, world: &World, waited: usize) {
        let Seen {
            resumed,
            refused,
            gone,
            spared,
            forgotten,
            rivals,
            histories,
            losses,
            forks,
            lost,
            rounds,
            compared,
        } = world.seen();
        let all = &mut self.seen;
        all.resumed += resumed;
        all.refused += refused;
        all.gone += gone;
        all.spared += spared;
        all.forgotten += forgotten;
        all.rivals += rivals;
        all.histories += histories;
        all.losses += losses;
        all.forks += forks;
        all.lost += lost;
        all.compared += compared;
        all.rounds = all.rounds.max(rounds);
        self.batches += world.engine.log.len();
        self.waited += waited;
        self.dropped += world.requests.dropped();
        self.answered += world.asks.sums().0.len();
    }
}

fn run(nodes: usize, steps: &[Step], sums: &Mutex<Sums>) {
    let mut world = World::of(nodes, CLIENTS + COUNTERS);
    let mut waited = 0;
    for step in steps {
        world.step(step);
        let waiting = world.nodes.iter().map(|node| node.partition.shard().waiting());
        waited += waiting.max().unwrap();
    }
    world.settle();
    world.check();
    sums.lock().unwrap().add(&world, waited);
    world.check_numbers();
    world.end();
}

fn try_seed(seed: u64, sums: &Mutex<Sums>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tree = (NODES..=MAX_NODES, steps()).new_tree(&mut runner).unwrap();
    let result = runner.run_one(tree, |(nodes, steps)| {
        run(nodes, &steps, sums);
        Ok(())
    });
    match result {
        Ok(_) => {}
        Err(TestError::Fail(why, (nodes, steps))) => {
            panic!("SIMULATOR_SEED={seed} fails with {nodes} nodes: {steps:#?}\n{why}")
        }
        Err(error) => panic!("SIMULATOR_SEED={seed}: {error}"),
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn nodes_agree_whatever_happens() {
    let (one, count) = (number("SIMULATOR_SEED"), number("SIMULATOR_SEEDS"));
    let (first, end) = one.map_or((0, count.unwrap_or(SEEDS)), |seed| (seed, seed + 1));
    let (next, sums) = (AtomicU64::new(first), Mutex::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            try_seed(seed, &sums);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in all {
            if let Err(panic) = thread.join() {
                next.store(end, Ordering::Relaxed); // the others need not go on
                std::panic::resume_unwind(panic);
            }
        }
    });
    let sums = sums.into_inner().unwrap();
    println!("{} seeds: {sums:?}", end - first);
    if end - first < 100 {
        return;
    }
    let Sums { seen, batches, waited, dropped, answered } = &sums;
    // else the property above would say little
    let in_a_hundred = |count: &usize| *count as u64 * 100 / (end - first);
    let least = [
        (batches, 5000),
        (waited, 20_000),
        (answered, 50),
        (&seen.resumed, 30),
        (&seen.refused, 60),
        (&seen.gone, 6),
        (&seen.spared, 1000),
        (&seen.forgotten, 30),
        (&seen.rivals, 4),
        (&seen.histories, 10),
        (&seen.losses, 50),
        (&seen.forks, 30),
        (&seen.lost, 5),
    ];
    for (count, least) in least {
        assert!(in_a_hundred(count) >= least, "{count} are less than {least} in 100: {sums:#?}");
    }
    assert!(*dropped > 0 && seen.rounds < 30, "{sums:#?}");
}
