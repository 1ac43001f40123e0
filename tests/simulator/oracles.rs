//! What must be true, whatever has happened.

use std::collections::BTreeSet;

use broker::cluster::Item;
use broker::log::{Change, Entry, NodeId, Owner};
use broker::types::SessionId;

use crate::node::Node;
use crate::steps::What;
use crate::world::{CLIENTS, SETTINGS, STREAMS, World, stream};

impl Node {
    /// What is parked, and can be resumed by any node.
    fn check_parked(&self) {
        let parked = self.partition.shard().resumable();
        let parked: BTreeSet<_> =
            parked.map(|(stream, key, _)| (stream.clone(), key.session)).collect();
        assert_eq!(self.parked, parked);
    }
}

impl World {
    pub(crate) fn check(&mut self) {
        for number in 0..self.clients.len().min(CLIENTS) {
            for of in 0..STREAMS {
                self.command(number, of, What::List);
            }
        }
        self.settle();
        self.hear();
        self.check_owners();
        self.check_requests();
        self.nodes.iter().for_each(Node::check_parked);
        let members: Vec<_> = self.nodes.iter().map(|node| node.partition.members()).collect();
        assert!(members.iter().all(|each| *each == members[0]), "{members:#?}");
        let read = self.engine.log.len();
        for client in self.clients.iter().filter(|client| !client.counts) {
            for of in (0..STREAMS).filter(|of| client.is_subscribed[*of]) {
                client.views[of].check(&self.order, of, read);
            }
        }
    }

    /// The numbers of members that clients have are those there are, when a while has passed.
    pub(crate) fn check_numbers(&mut self) {
        self.pass_long(2 * SETTINGS.occupancy_interval);
        let read = self.engine.log.len();
        for client in self.clients.iter().filter(|client| client.counts) {
            for of in (0..STREAMS).filter(|of| client.is_subscribed[*of]) {
                client.views[of].check(&self.order, of, read);
            }
        }
    }

    /// The records of connections that haven't ended, as the first node has them.
    pub(crate) fn records(&mut self) -> BTreeSet<(usize, SessionId)> {
        self.records_at(0)
    }

    /// The same, as the node that has read most has them.
    pub(crate) fn connected(&mut self) -> BTreeSet<(usize, SessionId)> {
        let nodes = self.nodes.iter().enumerate();
        let (first, _) = nodes.max_by_key(|(_, node)| node.read).unwrap();
        self.records_at(first)
    }

    fn records_at(&mut self, node: usize) -> BTreeSet<(usize, SessionId)> {
        let output = self.nodes[node].partition.shard_mut().commit(|_| ());
        let (entries, _) = output.snapshot(0, usize::MAX);
        let records = entries.into_iter().filter_map(|Entry { stream: name, change, .. }| {
            let Change::Record { owner: Owner::Subscription { by, ended: None }, .. } = change
            else {
                return None;
            };
            Some(((0..STREAMS).find(|of| stream(*of) == name)?, by.session))
        });
        records.collect()
    }

    /// No record stays of a connection that has ended.
    fn check_owners(&mut self) {
        for (of, session) in self.records() {
            let owner = self.clients.iter().find(|client| client.session == session);
            assert!(owner.is_some_and(|client| client.is_subscribed[of]), "{session:?} in {of}");
        }
    }

    /// The application was told the truth about what it published, and each node about what it asked.
    fn check_requests(&self) {
        let read = self.engine.log.iter().zip(&self.order.after);
        let admitted = read.filter(|(_, after)| after.result.is_ok());
        let batches: Vec<_> =
            admitted.filter_map(|(appended, _)| appended.batch.as_ref()).collect();
        let items = batches.iter().flat_map(|batch| &batch.items);
        self.requests.check(items.filter_map(|item| match item {
            Item::Change(proposal) => Some(&proposal.change),
            Item::Beat { .. }
            | Item::Overdue { .. }
            | Item::Gone { .. }
            | Item::Ask { .. }
            | Item::Answer { .. }
            | Item::Digest(_)
            | Item::Rules(_)
            | Item::Session { .. } => None,
        }));
        let living: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        self.asks.check(&living, batches.into_iter());
    }
}
