//! Membership: which nodes there are, by their beats.
//!
//! Every node appends a beat now and then, and a node whose beats stay out for its *lease* may be declared gone.
//! What counts is the time of the log: that between two beats, but at most two intervals of it. An
//! engine that stood still, a clock that jumped and a node that slept accuse nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use crate::log::{NodeId, Position};
use crate::stream::mix;

/// The nodes. It is replicated: it follows from the log alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    nodes: BTreeMap<NodeId, Member>,
    /// The nodes that were overdue and aren't excluded yet, with their incarnations.
    departed: BTreeMap<NodeId, u32>,
    /// Time of the log, in milliseconds.
    clock: u64,
    /// The engine's time of the last beat, in milliseconds of the Unix epoch.
    last: Option<u64>,
}

/// A node's last beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    incarnation: u32,
    beat: Position,
    /// When the next one is due, by the clock of the log: whenever the node dies, it has its whole lease from then on.
    due: u64,
    /// The newest rules that it knows.
    knows: Rules,
}

/// An accusation: a node's beats have stayed out since this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The node.
    pub node: NodeId,
    /// Its last beat.
    pub beat: Position,
}

impl Members {
    /// Applies a beat of a node's incarnation. Its next one is due after `interval`, and it knows these rules; `at` is the
    /// engine's time.
    pub fn beat(
        &mut self,
        (node, incarnation): (NodeId, u32),
        beat: Position,
        (interval, knows): (Duration, Rules),
        at: u64,
    ) {
        let passed = at.saturating_sub(self.last.unwrap_or(at));
        let most = millis(interval).saturating_mul(2);
        self.clock = self.clock.saturating_add(passed.min(most));
        self.last = Some(at); // even if its clock went back
        let due = self.clock.saturating_add(millis(interval));
        self.nodes.insert(node, Member { incarnation, beat, due, knows });
    }

    /// Whether an accusation holds, now that it is in the log: nothing has been heard of the node since that beat,
    /// for as long as its lease.
    pub fn is_overdue(&self, Overdue { node, beat }: Overdue, lease: Duration) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|member| member.beat == beat && self.is_late(member, lease))
    }

    /// The accusations that would hold.
    pub fn overdue(&self, lease: Duration) -> impl Iterator<Item = Overdue> {
        let late = self.nodes.iter().filter(move |(_, member)| self.is_late(member, lease));
        late.map(|(node, member)| Overdue { node: *node, beat: member.beat })
    }

    fn is_late(&self, member: &Member, lease: Duration) -> bool {
        self.clock.saturating_sub(member.due) >= millis(lease)
    }

    /// The same for all replicas that have read as far.
    pub(super) fn digest(&self) -> u64 {
        let time = mix(self.clock, self.last.unwrap_or_default());
        let members = self.nodes.iter().fold(time, |digest, (node, member)| {
            let Member { incarnation, beat, due, knows } = member;
            let of = [node.0, u64::from(*incarnation), beat.0, *due, knows.0.into()];
            of.into_iter().fold(digest, mix)
        });
        let departed = self.departed.iter();
        departed.fold(members, |digest, (node, incarnation)| {
            mix(mix(digest, node.0), u64::from(*incarnation))
        })
    }

    /// The nodes.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    /// Whether all nodes know some rules.
    pub fn all_know(&self, rules: Rules) -> bool {
        self.nodes.values().all(|member| member.knows >= rules)
    }

    /// Removes a node that is overdue and is to be excluded from all logs; returns its incarnation.
    pub fn depart(&mut self, node: NodeId) -> Option<u32> {
        let Member { incarnation, .. } = self.nodes.remove(&node)?;
        self.departed.insert(node, incarnation);
        Some(incarnation)
    }

    /// The nodes that were overdue and aren't excluded yet, with their incarnations.
    pub fn departed(&self) -> impl Iterator<Item = (NodeId, u32)> {
        self.departed.iter().map(|(node, incarnation)| (*node, *incarnation))
    }

    /// Removes a node that is excluded.
    pub fn remove(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.departed.remove(&node);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const INTERVAL: Duration = Duration::from_secs(2);
    const LEASE: Duration = Duration::from_secs(10);

    /// Members of a log in which beats come at these times, in seconds.
    fn members(beats: &[(NodeId, u64)]) -> Members {
        let mut members = Members::default();
        for (position, (node, at)) in (1..).zip(beats) {
            members.beat((*node, 1), Position(position), (INTERVAL, Rules(1)), at * 1000);
        }
        members
    }

    fn overdue(members: &Members) -> Vec<Overdue> {
        members.overdue(LEASE).collect()
    }

    #[test]
    fn who_beats_in_time_is_never_overdue_and_who_stops_is_after_its_lease() {
        let mut beats = vec![(TWO, 100)];
        for at in (100..110).step_by(2) {
            beats.push((ONE, at));
            assert_eq!(overdue(&members(&beats)), []);
        }
        beats.extend([(ONE, 110), (ONE, 112)]);
        let accused = Overdue { node: TWO, beat: Position(1) };
        assert_eq!(overdue(&members(&beats)), [accused]);
        beats.push((TWO, 112));
        let members = members(&beats);
        assert_eq!(overdue(&members), []);
        assert!(!members.is_overdue(accused, LEASE), "it has been heard of since");
    }

    #[test]
    fn an_hour_without_any_beats_counts_as_two_intervals() {
        let members = members(&[(TWO, 100), (ONE, 100), (ONE, 3700)]);
        assert_eq!(overdue(&members), []);
        let later = [3702, 3704, 3706, 3708].map(|at| (ONE, at));
        let mut beats = vec![(TWO, 100), (ONE, 100), (ONE, 3700)];
        beats.extend(later);
        assert_eq!(
            overdue(&self::members(&beats)).len(),
            1,
            "4 + 2 + 2 + 2 + 2 seconds, of which the first 2 are before its next beat"
        );
    }

    #[test]
    fn a_clock_that_goes_back_accuses_nobody_and_stops_nothing() {
        let mut beats = vec![(TWO, 5000), (ONE, 5000), (ONE, 100)];
        beats.extend([102, 104, 106, 108, 110].map(|at| (ONE, at)));
        assert_eq!(overdue(&members(&beats)), []);
        beats.push((ONE, 112));
        assert_eq!(overdue(&members(&beats)).len(), 1);
    }

    #[test]
    fn no_beat_is_too_large() {
        let mut members = members(&[(TWO, 0)]);
        for at in [u64::MAX, 0, u64::MAX] {
            members.beat((ONE, 1), Position(2), (Duration::MAX, Rules(1)), at);
        }
        assert_eq!(overdue(&members).len(), 1);
    }

    #[test]
    fn who_is_gone_is_no_member() {
        let mut members = members(&[(ONE, 100), (TWO, 100)]);
        assert_eq!((members.depart(TWO), members.depart(TWO)), (Some(1), None));
        assert!(members.nodes().eq([ONE]) && members.departed().eq([(TWO, 1)]));
        members.remove(TWO);
        members.remove(ONE);
        assert_eq!((members.nodes().count(), members.departed().count()), (0, 0));
    }
}
