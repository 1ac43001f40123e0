//! What follows when nothing more happens: all that was proposed is read by all.

use std::time::Duration;

use broker::log::NodeId;

use crate::node::Node;
use crate::steps::Step;
use crate::world::{BEAT, CLIENTS, INTERVAL, NODES, STREAMS, World, millis};

impl World {
    /// All that was proposed is read by all, and whoever was killed is found to be gone.
    pub(crate) fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "something never comes, or a dead node stays");
            for node in 0..NODES {
                self.retry(node);
            }
            for node in 0..NODES {
                self.read(node, usize::MAX);
            }
            let length = self.engine.log.len();
            let is_settled = |node: &Node| !node.partition.is_waiting() && node.read == length;
            if !self.nodes.iter().all(is_settled) {
                continue;
            }
            let members: Vec<NodeId> =
                self.nodes[0].partition.nodes().map(|(node, _)| node).collect();
            self.killed.retain(|node| members.contains(node));
            if self.killed.is_empty() {
                break;
            }
            self.engine.unix += millis(INTERVAL);
            for node in 0..NODES {
                self.nodes[node].partition.propose(BEAT);
                self.accuse(node);
            }
        }
    }

    /// Nobody stays once everybody has gone.
    pub(crate) fn end(&mut self) {
        for client in 0..CLIENTS {
            self.step(&Step::End { client, to: 0, resumes: false });
        }
        for stream in 0..STREAMS {
            self.step(&Step::Leave { stream });
        }
        self.settle();
        self.step(&Step::Pass(5000));
        self.settle();
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
            self.step(&Step::Pass(1000));
            self.settle();
        }
    }
}
