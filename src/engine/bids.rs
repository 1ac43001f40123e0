//! Bids: what each node has of a log that the engine may have lost a part of.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::log::NodeId;

/// Time that a node waits for others which knows of none, as it has just started: they connect again within it.
const NEWCOMER: Duration = Duration::from_secs(3);

/// What a node has of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Bid {
    /// The latest round of the log in which any of its batches was appended; 0 if it isn't known, or if cursors say it.
    pub(in crate::engine) round: u64,
    /// The last batch that was delivered.
    pub(in crate::engine) cursor: u64,
    /// Its nonce; 0 if it isn't known.
    pub(in crate::engine) nonce: u64,
}

/// The bids of all nodes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Bids(BTreeMap<NodeId, Bid>);

impl Bids {
    /// The latest round of any batch.
    pub(in crate::engine) fn round(&self) -> u64 {
        self.0.values().map(|bid| bid.round).max().unwrap_or(0)
    }

    /// Notes what a node has, instead of what it had.
    pub(in crate::engine) fn insert(&mut self, node: NodeId, bid: Bid) {
        self.0.insert(node, bid);
    }

    /// How long a node waits, from its own bid on, until it says how the log goes on: no time, if it has most of the log
    /// and all the others have bid; a lease for those that haven't, and one for each node that has more. If it has to
    /// wait at all, there may be something that the log goes on without. Whoever has a batch of a later round has more: who
    /// hasn't may have something else instead. Of those that have as much, the ones go first that know their
    /// last batch, and can prove it.
    pub(in crate::engine) fn patience(
        &self,
        own: NodeId,
        members: &BTreeSet<NodeId>,
        lease: Duration,
    ) -> Duration {
        let absent = if members.is_empty() {
            NEWCOMER.min(lease)
        } else if members.iter().all(|node| self.0.contains_key(node)) {
            Duration::ZERO
        } else {
            lease
        };
        let place =
            |node: NodeId, bid: &Bid| (bid.round, bid.cursor, bid.nonce != 0, Reverse(node));
        let ours = self.0.get(&own).copied().unwrap_or_default();
        let better = self.0.iter().filter(|(node, bid)| place(**node, bid) > place(own, &ours));
        absent + lease * u32::try_from(better.count()).unwrap_or(u32::MAX)
    }

    /// Whether there may be something that a node hasn't got: a node is missing, or has bid more.
    pub(in crate::engine) fn may_lack(&self, own: NodeId, members: &BTreeSet<NodeId>) -> bool {
        let ours = self.0.get(&own).copied().unwrap_or_default();
        let is_other = |bid: &Bid| {
            bid.cursor > ours.cursor
                || bid.cursor == ours.cursor && bid.nonce != 0 && bid.nonce != ours.nonce
        };
        members.is_empty()
            || members.iter().any(|node| !self.0.contains_key(node))
            || self.0.values().any(is_other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn bids(bids: &[(u64, u64)]) -> Bids {
        let bid = |(node, cursor): &(u64, u64)| {
            (NodeId(*node), Bid { round: 1, cursor: *cursor, nonce: 7 })
        };
        Bids(bids.iter().map(bid).collect())
    }

    fn patience(given: &[(u64, u64)], own: u64, members: &[u64]) -> u64 {
        let members = members.iter().map(|node| NodeId(*node)).collect();
        bids(given).patience(NodeId(own), &members, LEASE).as_secs()
    }

    #[test]
    fn who_has_most_goes_first_once_all_have_bid() {
        let given = [(1, 5), (2, 9), (3, 9)];
        let of_each = [1, 2, 3].map(|own| patience(&given, own, &[1, 2, 3]));
        assert_eq!(of_each, [20, 0, 10]);
    }

    #[test]
    fn who_is_missing_is_waited_for() {
        assert_eq!(patience(&[(1, 5), (2, 9)], 2, &[1, 2, 3]), 10);
        assert_eq!(patience(&[(1, 5), (2, 9)], 1, &[1, 2, 3]), 20);
        assert_eq!(patience(&[(1, 5), (4, 9)], 4, &[1]), 0, "nobody knows of it, but it is there");
        assert_eq!(patience(&[(4, 0)], 4, &[]), 3, "it has just started");
    }

    #[test]
    fn who_has_as_much_as_the_others_lacks_nothing() {
        let may_lack = |given: &[(u64, u64)], members: &[u64]| {
            let members = members.iter().map(|node| NodeId(*node)).collect();
            bids(given).may_lack(NodeId(3), &members)
        };
        assert!(!may_lack(&[(1, 9), (2, 5), (3, 9)], &[1, 2, 3]));
        assert!(may_lack(&[(1, 9), (3, 9)], &[1, 2, 3]), "one is missing");
        assert!(may_lack(&[(1, 10), (2, 5), (3, 9)], &[1, 2, 3]), "one has more");
        assert!(may_lack(&[(3, 9)], &[]), "it has just started");
        let mut bids = bids(&[(1, 9), (3, 9)]);
        bids.insert(NodeId(1), Bid { round: 1, cursor: 9, nonce: 8 });
        assert!(bids.may_lack(NodeId(3), &[NodeId(1)].into()), "one has another");
    }

    /// Whatever the bids are, exactly one of the nodes that have bid goes first, and none has more than it.
    #[test]
    fn one_goes_first() {
        for cursors in 0..4_u64.pow(3) {
            let given = [(1, cursors % 4), (2, cursors / 4 % 4), (3, cursors / 16)];
            let first: Vec<_> =
                given.iter().filter(|(node, _)| patience(&given, *node, &[1, 2, 3]) == 0).collect();
            let [(_, cursor)] = first[..] else { panic!("{given:?}: {first:?}") };
            assert!(given.iter().all(|(_, other)| other <= cursor), "{given:?}");
        }
    }

    #[test]
    fn who_has_a_batch_of_a_later_round_goes_before_who_has_more_of_them() {
        let mut bids = bids(&[(1, 9), (2, 5)]);
        bids.insert(NodeId(2), Bid { round: 2, cursor: 5, nonce: 7 });
        let members = [NodeId(1), NodeId(2)].into();
        let of_each = [1, 2].map(|own| bids.patience(NodeId(own), &members, LEASE).as_secs());
        assert_eq!(of_each, [10, 0]);
    }

    #[test]
    fn who_knows_its_last_batch_goes_before_who_has_just_read_a_snapshot() {
        let mut bids = bids(&[(1, 9), (2, 9)]);
        bids.insert(NodeId(1), Bid { round: 1, cursor: 9, nonce: 0 });
        let members = [NodeId(1), NodeId(2)].into();
        let of_each = [1, 2].map(|own| bids.patience(NodeId(own), &members, LEASE).as_secs());
        assert_eq!(of_each, [10, 0]);
    }
}
