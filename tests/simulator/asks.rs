//! What nodes ask all nodes to do, and the answers.

use std::collections::{BTreeMap, BTreeSet};

use broker::cluster::{Answer, Answered, Ask, AskId, Batch, Heard, Item, Partition};
use broker::log::NodeId;
use broker::types::Names;

use crate::faults::Fate;
use crate::faults::pause;
use crate::steps::Step;
use crate::world::{NODES, World};

/// What was asked. Each node answers with 1.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    made: BTreeSet<AskId>,
    heard: BTreeMap<AskId, BTreeSet<NodeId>>,
    answers: BTreeMap<AskId, Option<u64>>,
}

impl Asks {
    pub(crate) fn ask(&mut self, node: NodeId, partition: &mut Partition<usize>) {
        let ask = Ask::Disconnect { names: Names::default(), reconnect: true, after: Vec::new() };
        self.made.insert(AskId { node, number: partition.ask(None, ask) });
    }

    /// A node does what it is asked, and takes what it is told.
    pub(crate) fn follow(&mut self, node: NodeId, partition: &mut Partition<usize>) {
        for Heard { by, .. } in partition.take_heard() {
            assert!(self.heard.entry(by).or_default().insert(node), "{node} heard {by:?} twice");
            let answer = Answer { sessions: 1, after: Vec::new() };
            partition.propose(Item::Answer { to: by, answer });
        }
        for Answered { number, sum } in partition.take_answered() {
            let sum = sum.map(|Answer { sessions, .. }| sessions);
            let earlier = self.answers.insert(AskId { node, number }, sum);
            assert_eq!(earlier, None, "{number} of {node} is answered twice");
        }
    }

    /// Each node that lives was told the truth about what it asked, and is told in the end.
    pub(crate) fn check<'a>(&self, living: &[NodeId], applied: impl Iterator<Item = &'a Batch>) {
        let mut times: BTreeMap<AskId, usize> = BTreeMap::new();
        for Batch { node, items, .. } in applied {
            for item in items {
                if let Item::Ask { number, .. } = item {
                    *times.entry(AskId { node: *node, number: *number }).or_default() += 1;
                }
            }
        }
        for id in self.made.iter().filter(|id| living.contains(&id.node)) {
            let heard = self.heard.get(id).map_or(0, BTreeSet::len) as u64;
            match self.answers.get(id) {
                Some(Some(sum)) => {
                    assert_eq!(times.get(id), Some(&1), "{id:?} is in the log");
                    assert!((1..=heard).contains(sum), "{sum} of {heard} have answered {id:?}");
                }
                Some(None) => assert_eq!((times.get(id), heard), (None, 0), "{id:?} is dropped"),
                None => panic!("{id:?} isn't answered: {self:#?}"),
            }
        }
    }

    /// The sums of all answers, in the order in which the nodes asked, and how much was dropped.
    pub(crate) fn sums(&self) -> (Vec<u64>, usize) {
        let dropped = self.answers.values().filter(|sum| sum.is_none()).count();
        (self.answers.values().copied().flatten().collect(), dropped)
    }
}

/// A node stands still until the others have had their word about it.
fn exclude(world: &mut World, node: usize) {
    pause(world, node);
    for other in (0..NODES).filter(|other| *other != node) {
        world.step(&Step::Append { node: other, fate: Fate::Stored });
    }
}

#[test]
fn all_nodes_do_what_one_of_them_asks() {
    let mut world = World::new();
    world.settle();
    world.step(&Step::Ask { node: 1 });
    world.step(&Step::Ask { node: 2 });
    world.settle();
    world.check();
    assert_eq!(world.asks.sums(), (vec![NODES as u64; 2], 0));
}

#[test]
fn who_is_gone_isnt_waited_for() {
    let mut world = World::new();
    world.settle();
    world.step(&Step::Ask { node: 1 });
    world.step(&Step::Append { node: 1, fate: Fate::Stored });
    exclude(&mut world, 0);
    for node in [1, 2] {
        world.step(&Step::Read { node, batches: usize::MAX });
    }
    assert_eq!(world.asks.sums(), (vec![2], 0));
    world.settle();
    world.check();
    assert_eq!(world.asks.sums(), (vec![2], 0), "it comes too late, and does it all the same");
}

#[test]
fn what_is_asked_behind_the_end_of_a_node_is_never_heard() {
    let mut world = World::new();
    world.settle();
    exclude(&mut world, 0);
    world.step(&Step::Ask { node: 0 });
    world.step(&Step::Append { node: 0, fate: Fate::Stored });
    world.step(&Step::Ask { node: 0 });
    world.settle();
    world.check();
    assert_eq!(world.asks.sums(), (vec![], 2));
}
