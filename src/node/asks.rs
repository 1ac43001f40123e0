//! Who waits for what a partition's log brings: answers of other nodes, or a position.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::cluster::Cluster;
use crate::cluster::{Answer, Answered, Ask, Partition};
use crate::log::{NodeId, Position};
use crate::outbound::Recipient;

/// What this node has asked others to do, by number, and who waits for the answer.
#[derive(Debug, Default)]
pub(super) struct Asks {
    waiting: HashMap<u64, oneshot::Sender<Answer>, RandomState>,
}

impl Asks {
    /// Asks all nodes, or one. The answer is dropped if what is asked will never be in the log.
    pub(super) fn ask(
        &mut self,
        partition: &mut Partition<Recipient>,
        (of, ask): (Option<NodeId>, Ask),
        answer: oneshot::Sender<Answer>,
    ) {
        let number = partition.ask(of, ask);
        self.waiting.insert(number, answer);
    }

    /// Passes on what this node is asked, unless that was before its time, and what it was answered.
    pub(super) fn pass_on(
        &mut self,
        partition: &mut Partition<Recipient>,
        cluster: &Cluster,
        is_current: bool,
    ) {
        for heard in partition.take_heard().into_iter().filter(|_| is_current) {
            cluster.hear(heard);
        }
        for Answered { number, sum } in partition.take_answered() {
            if let (Some(answer), Some(sum)) = (self.waiting.remove(&number), sum) {
                answer.send(sum).ok(); // who asked may have given up
            }
        }
    }
}

/// Who waits until a log is read up to a position.
#[derive(Debug, Default)]
pub(super) struct Readers(Vec<(Position, oneshot::Sender<()>)>);

impl Readers {
    /// Answers once the log is read up to a position. So far it is read up to `read`.
    pub(super) fn add(&mut self, position: Position, read: Position, answer: oneshot::Sender<()>) {
        self.0.push((position, answer));
        self.note(read);
    }

    /// The log is read up to this position.
    pub(super) fn note(&mut self, read: Position) {
        let is_over = |(position, answer): &mut (Position, oneshot::Sender<()>)| {
            *position <= read || answer.is_closed()
        };
        for (_, answer) in self.0.extract_if(.., is_over) {
            answer.send(()).ok(); // likewise
        }
    }
}
