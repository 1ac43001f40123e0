//! Digests find a replica that differs, whatever the difference, and no other.

use std::time::Instant;

use broker::clock::Clock;
use broker::cluster::{Batch, Compared, Item, KnownRules, Partition, Refused, Rules};
use broker::log::{Change, Entry, NodeId, Origin, Position};
use broker::types::StreamName;

use crate::starts::save;
use crate::world::{INTERVAL, NODES, SETTINGS};

/// A node that the others don't know.
const STRANGER: NodeId = NodeId(9);

const RULES: Rules = Rules(1);

/// Positions between two batches.
const GAP: u64 = 10;

/// Replicas that read one log at the same pace.
struct Replicas {
    all: Vec<Partition<usize>>,
    /// Position of the next batch.
    next: u64,
    now: Instant,
}

impl Replicas {
    /// Replicas with members, and a digest that all have noted.
    fn new() -> Self {
        Self::of(KnownRules { oldest: RULES, newest: RULES })
    }

    /// The same, of nodes that know some rules.
    fn of(known: KnownRules) -> Self {
        let now = Clock::new().now();
        let node = |number: usize| NodeId(number as u64 + 1);
        let all =
            (0..NODES).map(|number| Partition::new(SETTINGS, node(number), known, now)).collect();
        let mut replicas = Self { all, next: GAP, now };
        replicas.propose(0, Item::Beat { interval: INTERVAL, knows: known.newest });
        replicas.digest(0);
        replicas
    }

    /// A node proposes something, and all read it.
    fn propose(&mut self, node: usize, item: Item) {
        self.all[node].propose(item);
        self.settle();
    }

    fn digest(&mut self, node: usize) {
        self.all[node].propose_digest();
        self.settle();
    }

    /// All that is proposed is read by all.
    fn settle(&mut self) {
        for node in 0..self.all.len() {
            while let Some(batch) = self.all[node].poll_append().cloned() {
                for replica in &mut self.all {
                    let batch = batch.clone();
                    replica.apply(Position(self.next), 0, batch, self.now).unwrap();
                }
                self.next += GAP;
            }
        }
    }

    /// By node, what it has found since the last call: who it was compared with, and whether they were equal.
    fn found(&mut self) -> Vec<Vec<(NodeId, bool)>> {
        let found = |compared: Compared| (compared.by, compared.is_equal());
        let take = |it: &mut Partition<usize>| it.take_compared().into_iter().map(found).collect();
        self.all.iter_mut().map(take).collect()
    }

    /// An entry that isn't in the log.
    fn entry(&self, change: Change) -> Entry {
        let (position, origin) = (Position(self.next - GAP / 2), Origin::default());
        Entry { position, at: 0, origin, stream: StreamName::from("stream"), change }
    }
}

fn put(id: &str) -> Change {
    let (info, extra, until, max_members) = ("1".into(), None, None, 10);
    Change::Put { id: id.into(), info, extra, until, max_members }
}

/// A way to change a replica by hand: what it changes, and how.
type Mutation = (&'static str, fn(&mut Replicas, usize));

fn mutations() -> [Mutation; 5] {
    [
        ("a stream", |replicas, node| {
            let entry = replicas.entry(put("ann"));
            replicas.all[node].shard_mut().apply(entry, replicas.now).unwrap();
        }),
        ("a member", |replicas, node| {
            let (ann, now) = (replicas.entry(put("ann")), replicas.now);
            for replica in &mut replicas.all {
                replica.shard_mut().apply(ann.clone(), now).unwrap();
            }
            replicas.next += GAP;
            let entry = replicas.entry(Change::Kicked { id: "ann".into() });
            replicas.all[node].shard_mut().apply(entry, now).unwrap();
        }),
        ("the time of what was forgotten", |replicas, node| {
            replicas.all[node].shard_mut().restore_forgotten(7);
        }),
        ("a node's last batch", |replicas, node| {
            let batch = Batch {
                rules: RULES,
                node: STRANGER,
                incarnation: 1,
                number: 1,
                items: Vec::new(),
            };
            let first = Position(replicas.next - GAP / 2);
            replicas.all[node].apply(first, 0, batch, replicas.now).unwrap();
        }),
        ("a node's last beat", |replicas, node| {
            for (number, replica) in replicas.all.iter_mut().enumerate() {
                let interval = INTERVAL * if number == node { 2 } else { 1 };
                let items = vec![Item::Beat { interval, knows: RULES }];
                let batch =
                    Batch { rules: RULES, node: STRANGER, incarnation: 1, number: 1, items };
                replica.apply(Position(replicas.next), 0, batch, replicas.now).unwrap();
            }
            replicas.next += GAP;
        }),
    ]
}

#[test]
fn a_replica_that_was_changed_by_hand_is_found_by_itself_or_by_all_others() {
    for (what, mutate) in mutations() {
        for proposer in 0..NODES {
            let mut replicas = Replicas::new();
            let by = NodeId(proposer as u64 + 1);
            mutate(&mut replicas, 1);
            replicas.digest(proposer);
            assert_eq!(replicas.found().concat().iter().filter(|(_, is)| !is).count(), 0, "{what}");
            replicas.digest(proposer);
            for (node, found) in replicas.found().into_iter().enumerate() {
                let is_equal = node != 1 && proposer != 1;
                let expected = (node != proposer).then_some((by, is_equal));
                assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{what}: node {node}");
            }
        }
    }
}

/// So the rules needn't be in a digest.
#[test]
fn who_goes_by_other_rules_notes_no_digest_with_the_others() {
    let newer = RULES.next();
    let mut replicas = Replicas::of(KnownRules { oldest: RULES, newest: newer });
    let noted = replicas.all[1].last_digest();
    let items = vec![Item::Rules(newer)];
    let raise = Batch { rules: RULES, node: STRANGER, incarnation: 1, number: 1, items };
    let first = Position(replicas.next - GAP / 2);
    replicas.all[1].apply(first, 0, raise, replicas.now).unwrap();
    for (proposer, other, rules) in [(0, 1, RULES), (1, 0, newer)] {
        let first = Position(replicas.next);
        replicas.next += GAP;
        replicas.all[proposer].propose_digest();
        let batch = replicas.all[proposer].poll_append().unwrap().clone();
        let now = replicas.now;
        replicas.all[proposer].apply(first, 0, batch.clone(), now).unwrap();
        assert_eq!(replicas.all[proposer].last_digest(), first);
        let refused = replicas.all[other].apply(first, 0, batch, now);
        assert_eq!(refused, Err(Refused::Rules(rules)));
    }
    let last = [0, 1].map(|node| replicas.all[node].last_digest());
    assert!(last[0] > noted && last[1] > noted && last[0] != last[1], "{noted:?} {last:?}");
    assert_eq!(replicas.found().concat(), []);
}

#[test]
fn nothing_is_compared_that_a_node_has_not_noted() {
    let mut replicas = Replicas::new();
    replicas.digest(0);
    assert_eq!(replicas.found().concat().len(), NODES - 1);
    // both have noted the one before, and one of them comes first
    replicas.all[0].propose_digest();
    replicas.all[1].propose_digest();
    replicas.settle();
    assert_eq!(replicas.found().concat().len(), NODES - 1);
    let saved = save(&mut replicas.all[2], (0, 1), |_| ());
    let mut late = Partition::new(SETTINGS, STRANGER, KnownRules::OWN, replicas.now);
    saved.restore(&mut late, 0, replicas.now);
    assert_eq!(late.digest(), replicas.all[0].digest());
    replicas.all.push(late);
    replicas.digest(0);
    let found = replicas.found();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 1, 0], "it has noted none");
    replicas.digest(0);
    let found = replicas.found();
    assert_eq!(found[3], [(NodeId(1), true)], "but the next");
    replicas.digest(3);
    assert!(replicas.found().concat().iter().all(|(by, is)| *by == STRANGER && *is));
}
