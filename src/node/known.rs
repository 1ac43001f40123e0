//! The sessions that the application knows, in a partition: what becomes of their changes, and which of them this node
//! takes over.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::cluster::Cluster;
use super::job::SessionAnswer;
use crate::cluster::{Changed, LeftSession, Partition};
use crate::log::SessionChange;
use crate::outbound::Recipient;

/// Time after which a node takes over what another one should have taken over.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who waits for changes, and what is to be taken over.
#[derive(Debug)]
pub(super) struct Known {
    /// How long a session can be resumed.
    ttl: Duration,
    /// By the number of the change.
    waiting: HashMap<u64, SessionAnswer, RandomState>,
    /// Sessions whose nodes are gone, and when they can no longer be resumed: in order of time.
    left: VecDeque<(Instant, LeftSession)>,
}

impl Known {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, waiting: HashMap::default(), left: VecDeque::new() }
    }

    /// Changes what the application knows of a session, and answers once that is in the log.
    pub(super) fn change(
        &mut self,
        partition: &mut Partition<Recipient>,
        change: SessionChange,
        answer: Option<SessionAnswer>,
    ) {
        match (partition.change_session(change), answer) {
            (Some(number), Some(answer)) => drop(self.waiting.insert(number, answer)),
            (None, Some(answer)) => drop(answer.send(Ok(()))), // the log has no sessions yet
            (_, None) => {}
        }
    }

    /// Passes on what has become of changes, and which sessions this node has taken over.
    pub(super) fn pass_on(
        &mut self,
        partition: &mut Partition<Recipient>,
        cluster: &Cluster,
        clock: Instant,
    ) {
        for Changed { number, result } in partition.take_changed() {
            if let Some(answer) = self.waiting.remove(&number) {
                answer.send(result).ok(); // who asked may have given up
            }
        }
        for left in partition.take_left() {
            self.left.push_back((clock + self.ttl, left));
        }
        for taken in partition.take_taken() {
            cluster.take_session(taken);
        }
    }

    /// Takes over the sessions that nobody can resume any more. The first of the nodes does so; each of the others only if
    /// those before it don't.
    pub(super) fn take_over(
        &mut self,
        partition: &mut Partition<Recipient>,
        rank: u32,
        clock: Instant,
    ) {
        let is_due = |(due, _): &(Instant, LeftSession)| *due + rank * PATIENCE <= clock;
        while self.left.front().is_some_and(is_due)
            && let Some((_, left)) = self.left.pop_front()
        {
            partition.take_over(left);
        }
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self, rank: u32) -> Option<Instant> {
        self.left.front().map(|(due, _)| *due + rank * PATIENCE)
    }
}
