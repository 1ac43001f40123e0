//! The sessions that the application knows: whatever becomes of nodes, one node has each of them until the application
//! knows its end, and it is told by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::cluster::{Batch, Item, KnownRules, LeftSession, Partition, Rules};
use broker::log::{NodeId, Position, SessionChange, SessionState};
use broker::types::{Identity, Origin, SessionId, State};
use proptest::prelude::*;

use crate::world::SETTINGS;

const NODES: usize = 3;
const RULES: Rules = KnownRules::OWN.newest;
const TTL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    /// A session begins at a node.
    Open { node: usize },
    /// What the application knows of it changes.
    Change { node: usize, of: usize },
    /// It is resumed at another node.
    Resume { node: usize, of: usize },
    /// Its node tells its end.
    Tell { node: usize, of: usize },
    /// A node appends what it has proposed.
    Append { node: usize },
    /// It reads what it hasn't.
    Read { node: usize, batches: usize },
    /// The others believe it dead: it may live.
    Exclude { node: usize, by: usize },
    /// It takes over what nodes have left that are gone.
    TakeOver { node: usize },
    /// It is killed, and one with another id takes its place, which reads the log from its beginning.
    Kill { node: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, of) = (0..NODES, 0..8_usize);
    let step = prop_oneof![
        3 => node.clone().prop_map(|node| Step::Open { node }),
        3 => (node.clone(), of.clone()).prop_map(|(node, of)| Step::Change { node, of }),
        3 => (node.clone(), of.clone()).prop_map(|(node, of)| Step::Resume { node, of }),
        2 => (node.clone(), of).prop_map(|(node, of)| Step::Tell { node, of }),
        9 => node.clone().prop_map(|node| Step::Append { node }),
        9 => (node.clone(), 1..4_usize).prop_map(|(node, batches)| Step::Read { node, batches }),
        1 => (node.clone(), node.clone()).prop_map(|(node, by)| Step::Exclude { node, by }),
        3 => node.clone().prop_map(|node| Step::TakeOver { node }),
        1 => node.prop_map(|node| Step::Kill { node }),
    ];
    prop::collection::vec(step, 0..120)
}

struct Node {
    id: NodeId,
    partition: Partition<usize>,
    read: usize,
    left: Vec<LeftSession>,
    /// Sessions that it has taken over, by what they were.
    taken: Vec<(SessionId, SessionId)>,
}

struct World {
    now: Instant,
    log: Vec<Batch>,
    nodes: Vec<Node>,
    given: u64,
    dead: Vec<NodeId>,
}

fn state(first: SessionId, version: u64) -> Arc<SessionState> {
    Arc::new(SessionState {
        first,
        identity: Identity::ANYONE,
        resumes: true,
        is_known: true,
        is_told: false,
        origin: Origin::default(),
        identifiers: version.to_string().into(),
        connection: State::default(),
        channels: Vec::new(),
    })
}

impl Node {
    fn new(id: NodeId, now: Instant) -> Self {
        let partition = Partition::new(SETTINGS, id, KnownRules::OWN, now);
        let mut node = Self { id, partition, read: 0, left: Vec::new(), taken: Vec::new() };
        node.partition.follow_rules(RULES); // the log begins with them
        node
    }

    /// A session of this node that the log has, as far as it has read.
    fn session(&self, of: usize) -> Option<(SessionId, Arc<SessionState>)> {
        let mut own: Vec<_> = self.sessions().filter(|(sid, _)| self.id.has(*sid)).collect();
        own.sort_unstable_by_key(|(sid, _)| *sid);
        own.get(of).cloned()
    }

    fn sessions(&self) -> impl Iterator<Item = (SessionId, Arc<SessionState>)> {
        self.partition.sessions().map(|(sid, session)| (sid, Arc::clone(&session.state)))
    }
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        let mut world =
            Self { now, log: Vec::new(), nodes: Vec::new(), given: 0, dead: Vec::new() };
        for _ in 0..NODES {
            let node = world.new_node();
            world.nodes.push(node);
        }
        world
    }

    fn new_node(&mut self) -> Node {
        self.given += 1;
        Node::new(NodeId(self.given), self.now)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Open { node } => {
                self.given += 1;
                let node = &mut self.nodes[node];
                let sid = node.id.session(self.given);
                let state = state(sid, 0);
                node.partition.change_session(SessionChange::Known { sid, state, left: None });
            }
            Step::Change { node, of } => {
                self.given += 1;
                let node = &mut self.nodes[node];
                if let Some((sid, old)) = node.session(of) {
                    let state = state(old.first, self.given);
                    node.partition.change_session(SessionChange::Known { sid, state, left: None });
                }
            }
            Step::Resume { node, of } => {
                self.given += 1;
                let node = &mut self.nodes[node];
                let mut others: Vec<_> = node.sessions().map(|(sid, _)| sid).collect();
                others.sort_unstable();
                if let Some(from) = others.get(of).copied() {
                    let to = node.id.session(self.given);
                    node.partition.change_session(SessionChange::Moved { from, to, left: None });
                }
            }
            Step::Tell { node, of } => {
                let node = &mut self.nodes[node];
                if let Some((sid, _)) = node.session(of) {
                    node.partition.change_session(SessionChange::Told { sid });
                }
            }
            Step::Append { node } => self.append(node),
            Step::Read { node, batches } => self.read(node, batches),
            Step::Exclude { node, by } if node != by => {
                let (id, by) = (self.nodes[node].id, &mut self.nodes[by].partition);
                let known = by.nodes().find(|(known, _)| *known == id);
                if let Some((node, incarnation)) = known {
                    by.propose(Item::Gone { node, incarnation, ttl: TTL });
                }
            }
            Step::Exclude { .. } => {}
            Step::TakeOver { node } => {
                let Node { partition, left, .. } = &mut self.nodes[node];
                left.drain(..).for_each(|left| partition.take_over(left));
            }
            Step::Kill { node } => {
                let next = self.new_node();
                self.dead.push(std::mem::replace(&mut self.nodes[node], next).id);
            }
        }
    }

    fn append(&mut self, node: usize) {
        let partition = &mut self.nodes[node].partition;
        if let Some(batch) = partition.poll_append() {
            self.log.push(batch.clone());
        } else {
            partition.handle_append_failed(); // it may be in the log twice
        }
    }

    fn read(&mut self, node: usize, batches: usize) {
        let Self { now, log, nodes, .. } = self;
        let node = &mut nodes[node];
        for (number, batch) in log.iter().enumerate().skip(node.read).take(batches) {
            let first = Position((number as u64 + 1) << 12);
            node.partition.apply(first, number as u64, batch.clone(), *now).ok();
            node.read = number + 1;
        }
        node.partition.shard_mut().take_proposals();
        node.left.extend(node.partition.take_left());
        let taken = node.partition.take_taken().into_iter();
        node.taken.extend(taken.map(|taken| (taken.was, taken.sid)));
    }

    /// All nodes append and read everything, until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..6 {
            for node in 0..NODES {
                self.append(node);
                self.append(node);
                self.read(node, usize::MAX);
            }
        }
    }
}

fn much_happens(steps: &[Step]) -> World {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world.settle();
    // whoever was killed is found to be gone
    for dead in world.dead.clone() {
        let by = &mut world.nodes[0].partition;
        let known = by.nodes().find(|(node, _)| *node == dead);
        if let Some((node, incarnation)) = known {
            by.propose(Item::Gone { node, incarnation, ttl: TTL });
        }
    }
    world.settle();
    for node in 0..NODES {
        world.step(&Step::TakeOver { node });
    }
    world.settle();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn each_session_is_of_one_node_that_is_there(steps in steps()) {
        let world = much_happens(&steps);
        let digests: BTreeSet<u64> = world.nodes.iter().map(|it| it.partition.digest()).collect();
        prop_assert_eq!(digests.len(), 1, "all nodes have the same");
        let living: Vec<NodeId> = world.nodes.iter().map(|node| node.id).collect();
        for (sid, _) in world.nodes[0].sessions() {
            prop_assert!(living.contains(&NodeId::of(sid)), "{} is of nobody who is there", sid);
        }
        // once each time that its node was gone
        let mut taken = BTreeMap::<SessionId, usize>::new();
        for (was, _) in world.nodes.iter().flat_map(|node| &node.taken) {
            *taken.entry(*was).or_default() += 1;
        }
        for (was, times) in taken {
            let is_end = |item: &&Item| {
                matches!(item, Item::Gone { node, .. } if *node == NodeId::of(was))
            };
            let ends = world.log.iter().flat_map(|batch| &batch.items).filter(is_end).count();
            prop_assert!(times <= ends, "{} was taken over {} times of {}", was, times, ends);
        }
    }

    #[test]
    fn a_node_that_begins_with_a_snapshot_has_the_same(steps in steps()) {
        let mut world = much_happens(&steps);
        let now = world.now;
        let saved = crate::starts::save(&mut world.nodes[0].partition, (0, 3), |_| ());
        let mut late = Node::new(NodeId(9999), now);
        saved.restore(&mut late.partition, 0, now);
        prop_assert_eq!(late.partition.digest(), world.nodes[0].partition.digest());
    }
}

#[test]
fn the_test_sees_sessions_taken_over_and_resumed() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut taken, mut moved, mut known) = (0, 0, 0);
    for _ in 0..200 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let world = much_happens(&steps);
        taken += world.nodes.iter().map(|node| node.taken.len()).sum::<usize>();
        known += world.nodes[0].sessions().count();
        let sessions = world.nodes[0].sessions();
        moved += sessions.filter(|(sid, state)| *sid != state.first).count();
    }
    assert!(taken > 50 && moved > 50 && known > 200, "{taken} {moved} {known}");
}
