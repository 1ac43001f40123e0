//! Which batches may count, and which nodes may be declared gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use broker::cluster::{Batch, Item};
use broker::log::{NodeId, Position};

use crate::engine::Appended;
use crate::order::After;
use crate::world::{INTERVAL, LEASE};

/// What follows from the batches that count.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// The last batch of each incarnation.
    last: BTreeMap<(NodeId, u32), u64>,
    /// The newest incarnation of each node.
    newest: BTreeMap<NodeId, u32>,
    /// Up to which incarnation nodes are gone.
    gone: BTreeMap<NodeId, u32>,
    /// The nodes that were found to be overdue.
    departed: BTreeSet<NodeId>,
    /// Each node's last beat, and that of all.
    beats: BTreeMap<NodeId, Beat>,
    newest_beat: Option<Beat>,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    position: Position,
    number: u32,
    when: Instant,
    jumps: u32,
    interval: Duration,
}

impl Rules {
    /// Follows a batch, as the nodes have judged it.
    pub(crate) fn follow(&mut self, appended: &Appended, after: &After, before: &[NodeId]) {
        let Some(batch) = &appended.batch else { return };
        if after.result.is_err() {
            return;
        }
        let Batch { node, incarnation, number, ref items, .. } = *batch;
        let is_gone = self.gone.get(&node).is_some_and(|gone| *gone >= incarnation);
        assert!(!is_gone, "{node} was gone: {appended:#?}");
        let newest = self.newest.entry(node).or_default();
        assert!(incarnation >= *newest, "it has begun a later incarnation: {appended:#?}");
        *newest = incarnation;
        let last = self.last.entry((node, incarnation)).or_default();
        assert_eq!(number, *last + 1, "each batch counts once and in order: {appended:#?}");
        *last = number;
        for (item, position) in items.iter().zip(appended.first.0..) {
            match item {
                Item::Beat { interval, .. } => {
                    self.beat(node, (Position(position), *interval), appended);
                }
                Item::Overdue { node, beat, .. }
                    if before.contains(node)
                        && !after.members.contains(node)
                        && !self.departed.contains(node)
                        && self.beats[node].position == *beat =>
                {
                    self.depart(*node, appended);
                }
                Item::Gone { node: gone, incarnation: of, .. } => {
                    let newest = self.newest.get(gone).copied().unwrap_or_default();
                    if newest <= *of && self.gone.get(gone).is_none_or(|gone| gone < of) {
                        let by_itself = (*gone, *of) == (node, incarnation);
                        let is_overdue =
                            self.departed.remove(gone) || !self.beats.contains_key(gone);
                        let may = by_itself || is_overdue;
                        assert!(may, "nobody has found that {gone} is overdue");
                        self.gone.insert(*gone, *of);
                        if by_itself {
                            return; // what it says after its own end doesn't count
                        }
                    }
                }
                Item::Overdue { .. }
                | Item::Change(_)
                | Item::Ask { .. }
                | Item::Answer { .. }
                | Item::Digest(_)
                | Item::Rules(_)
                | Item::Session { .. } => {}
            }
        }
    }

    fn beat(
        &mut self,
        node: NodeId,
        (position, interval): (Position, Duration),
        appended: &Appended,
    ) {
        let number = self.newest_beat.map_or(0, |beat| beat.number + 1);
        let beat = Beat { number, when: appended.when, jumps: appended.jumps, position, interval };
        self.beats.insert(node, beat);
        self.newest_beat = Some(beat);
    }

    /// A node is overdue. So much time has passed, as far as the log tells: between any two beats, two intervals at most,
    /// and no more than on the wall, unless the engine's clock has jumped.
    fn depart(&mut self, node: NodeId, appended: &Appended) {
        let (last, newest) = (self.beats[&node], self.newest_beat.unwrap());
        let (awaited, most) = (last.interval + LEASE, 2 * INTERVAL);
        let beats = newest.number - last.number;
        assert!(most * beats >= awaited, "only {beats} beats since: {appended:#?}");
        let passed = newest.when.duration_since(last.when) + most * (newest.jumps - last.jumps);
        assert!(passed >= awaited, "only {passed:?} since its beat: {appended:#?}");
        self.departed.insert(node);
    }
}
