//! What follows when nothing more happens: all that was proposed is read by all.

use std::time::Duration;

use broker::cluster::Item;
use broker::log::NodeId;

use crate::node::Node;
use crate::steps::Step;
use crate::world::{INTERVAL, SETTINGS, STREAMS, World, millis};

/// Rounds after which all have read all, and whoever was killed is gone.
const ROUNDS: usize = 60;
/// Rounds after which a node is excluded that has never beaten, as far as the log tells.
const NEVER_BEATEN: usize = 20;

impl World {
    /// All that was proposed is read by all, and whoever was killed is found to be gone.
    pub(crate) fn settle(&mut self) {
        let nodes = self.nodes.len();
        for node in 0..nodes {
            self.heal(node);
        }
        while !self.engine.delayed.is_empty() {
            self.engine.arrive(0, self.now);
        }
        for round in 0.. {
            assert!(round < ROUNDS, "something never comes, or a dead node stays");
            for node in 0..nodes {
                self.retry(node);
            }
            for node in 0..nodes {
                self.read(node, usize::MAX);
            }
            self.seen.rounds = self.seen.rounds.max(round);
            let length = self.engine.log.len();
            let is_settled = |node: &Node| !node.partition.is_waiting() && node.read == length;
            if !self.nodes.iter().all(|node| node.is_stopped() || is_settled(node)) {
                continue;
            }
            let Some(node) = self.nodes.iter().find(|node| !node.is_stopped()) else { break };
            let members: Vec<NodeId> = node.partition.nodes().map(|(node, _)| node).collect();
            self.killed.retain(|node| members.contains(node));
            if self.killed.is_empty() {
                break;
            }
            if round > NEVER_BEATEN {
                self.exclude_silent();
            }
            self.pass(millis(INTERVAL));
            for node in 0..nodes {
                self.beat(node);
                self.accuse(node);
            }
        }
    }

    /// Something of a node that is gone may have come into a log that has lost its beats.
    fn exclude_silent(&mut self) {
        let partition = &mut self.nodes[0].partition;
        let beating: Vec<_> = partition.members().nodes().collect();
        let silent = partition.nodes().filter(|(node, _)| !beating.contains(node));
        for (node, incarnation) in silent.collect::<Vec<_>>() {
            partition.propose(Item::Gone { node, incarnation, ttl: SETTINGS.presence_ttl });
        }
    }

    /// Nobody stays once everybody has gone.
    pub(crate) fn end(&mut self) {
        for client in 0..self.clients.len() {
            self.step(&Step::End { client, to: 0, resumes: false, rival: None });
        }
        for stream in 0..STREAMS {
            self.step(&Step::Leave { stream });
        }
        self.settle();
        self.pass_long(Duration::from_secs(6));
        for node in &self.nodes {
            let totals = node.partition.shard().totals();
            assert_eq!((totals.records, totals.subscriptions), (0, 0));
        }
        self.pass_long(Duration::from_secs(30));
        for node in &self.nodes {
            assert_eq!(node.partition.shard().totals().streams, 0, "{:#?}", node.partition);
        }
    }

    /// Time passes, and nothing happens that doesn't follow from it.
    pub(crate) fn pass_long(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pass_beating(1000);
        }
    }

    /// Time passes, in which all nodes beat.
    pub(crate) fn pass_beating(&mut self, milliseconds: u64) {
        self.step(&Step::Pass(milliseconds));
        for node in 0..self.nodes.len() {
            self.step(&Step::Beat { node });
        }
        self.settle();
    }

    /// All nodes hear of the engine by another log than this one.
    pub(crate) fn hear_beats(&mut self) {
        let now = self.now;
        self.nodes.iter_mut().for_each(|node| node.hear_log(now));
    }
}
