//! Nodes of two versions: the new one knows rules that the old one doesn't.

use broker::cluster::{KnownRules, Refused, Rules, Unknown};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::steps::{Step, steps};
use crate::world::{NODES, World};

const OLD: KnownRules = KnownRules { oldest: Rules(1), newest: Rules(1) };
const NEW: KnownRules = KnownRules { oldest: Rules(1), newest: Rules(2) };

/// A deploy: the nodes are replaced in some order, each from a snapshot, if there is one, or not, and things happen before,
/// in between and afterwards. The last old one may be believed dead before.
#[derive(Clone, Debug, Default)]
struct Deploy {
    before: Vec<Step>,
    replaced: Vec<(usize, Option<usize>, Vec<Step>)>,
    is_away: bool,
}

fn deploys() -> impl Strategy<Value = Deploy> {
    let order = Just((0..NODES).collect::<Vec<_>>()).prop_shuffle();
    let each = (prop::option::weighted(0.7, 0..4_usize), steps());
    let each = prop::collection::vec(each, NODES);
    (steps(), order, each, any::<bool>()).prop_map(|(before, order, each, is_away)| {
        let replaced = order.into_iter().zip(each);
        let replaced = replaced.map(|(node, (earlier, steps))| (node, earlier, steps)).collect();
        Deploy { before, replaced, is_away }
    })
}

impl World {
    /// All nodes beat, and read that of the others.
    fn beat_all(&mut self) {
        for node in &mut self.nodes {
            node.beat();
        }
        self.settle();
    }

    /// All but one go on, for longer than its lease.
    fn go_on_without(&mut self, away: usize) {
        for _ in 0..15 {
            self.step(&Step::Pass(100));
            for node in (0..NODES).filter(|node| *node != away) {
                self.nodes[node].beat();
                self.step(&Step::Accuse { node });
                self.step(&Step::Retry { node });
                self.step(&Step::Read { node, batches: usize::MAX });
            }
        }
    }

    /// Replaces all nodes; `look` sees each step.
    fn deploy(&mut self, deploy: &Deploy, mut look: impl FnMut(&Self)) {
        let mut run = |world: &mut Self, steps: &[Step]| {
            for step in steps {
                world.step(step);
                look(world);
            }
        };
        run(self, &deploy.before);
        self.known = NEW;
        for (at, (node, earlier, steps)) in (1..).zip(&deploy.replaced) {
            if at == NODES && deploy.is_away {
                self.go_on_without(*node);
                run(self, &[Step::Read { node: *node, batches: usize::MAX }]);
                run(self, steps);
            }
            self.step(&Step::Kill { node: *node, earlier: *earlier });
            run(self, steps);
        }
        self.settle();
        for _ in 0..3 {
            self.beat_all(); // that all know the rules, that they are raised
        }
    }

    /// The rules that were in force, one after the other.
    fn rules(&self) -> Vec<u64> {
        let after = self.order.after.iter();
        let mut rules: Vec<_> = after.map(|after| after.digest[2]).collect();
        rules.dedup();
        rules.retain(|rules| *rules > 0); // before the first batch
        rules
    }

    fn stopped(&self) -> usize {
        self.nodes.iter().filter(|node| node.partition.unknown().is_some()).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_are_raised_once_when_the_last_old_node_is_gone(deploy in deploys()) {
        let mut world = World::new();
        world.deploy(&deploy, |_| ());
        assert_eq!((world.rules(), world.stopped()), (vec![1, 2], 0));
        world.check();
        world.end();
        assert_eq!(world.rules(), [1, 2]);
    }
}

/// Else the property above would say little.
#[test]
fn much_happens_to_rules() {
    let mut runner = TestRunner::deterministic();
    let (mut again, mut stopped) = (0, 0);
    for _ in 0..20 {
        let mut world = World::new();
        let deploy = deploys().new_tree(&mut runner).unwrap().current();
        world.deploy(&deploy, |world| stopped += usize::from(world.stopped() > 0));
        let after = world.order.after.iter();
        again += after.filter(|after| matches!(after.result, Err(Refused::Rules(_)))).count();
    }
    assert!(
        again > 5 && stopped > 5,
        "{again} batches were appended again, {stopped} steps with a stopped node"
    );
}

#[test]
fn rules_stay_while_one_node_is_old() {
    let mut world = World::new();
    world.settle();
    world.known = NEW;
    for node in 1..NODES {
        world.step(&Step::Kill { node, earlier: None });
        world.settle();
    }
    for _ in 0..5 {
        world.beat_all();
    }
    assert_eq!(world.rules(), [1]);
    world.check();
    world.step(&Step::Kill { node: 0, earlier: None });
    for _ in 0..3 {
        world.beat_all();
    }
    assert_eq!(world.rules(), [1, 2]);
    world.check();
}

/// A cluster of new nodes, whose rules were raised.
fn raised() -> World {
    let mut world = World::new();
    let replaced = (0..NODES).map(|node| (node, None, Vec::new())).collect();
    world.deploy(&Deploy { replaced, ..Deploy::default() }, |_| ());
    assert_eq!(world.rules(), [1, 2]);
    world
}

#[test]
fn an_old_node_that_comes_late_stops_and_changes_nothing() {
    for earlier in [None, Some(0)] {
        let mut world = raised();
        world.step(&Step::Snapshot { node: 1, slice: 1 });
        world.known = OLD;
        world.step(&Step::Kill { node: 0, earlier });
        world.step(&Step::Publish { node: 0, stream: 0 });
        world.step(&Step::Read { node: 0, batches: usize::MAX });
        let partition = &mut world.nodes[0].partition;
        assert_eq!(partition.unknown(), Some(Unknown::Newer(Rules(2))));
        assert_eq!(partition.poll_append(), None);
        world.step(&Step::Publish { node: 1, stream: 0 });
        world.settle();
        let digests = [1, 2].map(|node| world.nodes[node].partition.shard().digest());
        assert_eq!(digests[0], digests[1]);
        world.known = NEW;
        world.step(&Step::Kill { node: 0, earlier });
        world.settle();
        world.check();
    }
}

/// One that was paused, and believed dead meanwhile.
#[test]
fn an_old_node_that_was_away_stops_where_the_rules_were_raised() {
    let mut world = World::new();
    world.settle();
    let before = world.nodes[0].partition.shard().digest();
    world.known = NEW;
    for node in 1..NODES {
        world.step(&Step::Kill { node, earlier: None });
    }
    world.go_on_without(0);
    assert_eq!(world.rules(), [1, 2]);
    assert_eq!(world.nodes[0].partition.shard().digest(), before, "it hasn't read on");
    world.step(&Step::Read { node: 0, batches: usize::MAX });
    assert_eq!(world.nodes[0].partition.unknown(), Some(Unknown::Newer(Rules(2))));
    let length = world.engine.log.len();
    world.step(&Step::Publish { node: 0, stream: 0 });
    world.step(&Step::Retry { node: 0 });
    assert_eq!(world.engine.log.len(), length);
}
