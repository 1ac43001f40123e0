//! How nodes append to the log, and read it.

use broker::cluster::{ForkId, Refused};

use crate::engine::Appended;
use crate::faults::Fate;
use crate::node::Node;
use crate::starts::exclude_departed;
use crate::world::{SETTINGS, World};

impl World {
    pub(crate) fn append(&mut self, node: usize, fate: Fate) {
        let now = self.now;
        let Node { partition, is_unanswered, is_cut, is_lost, paused, .. } = &mut self.nodes[node];
        if paused.is_none()
            && !*is_lost
            && let Some(batch) = partition.poll_append()
        {
            let fate = if *is_cut { Fate::Lost } else { fate };
            *is_unanswered = !self.engine.append(batch, fate, now);
        }
    }

    pub(crate) fn retry(&mut self, node: usize) {
        let Node { partition, is_unanswered, paused, .. } = &mut self.nodes[node];
        if paused.is_none() && std::mem::take(is_unanswered) {
            partition.handle_append_failed();
        }
        self.append(node, Fate::Stored);
    }

    pub(crate) fn read(&mut self, node: usize, batches: usize) {
        for _ in 0..batches {
            if self.nodes[node].is_cut || self.nodes[node].paused.is_some() {
                return;
            }
            if self.nodes[node].is_lost {
                return self.restart(node, Some(0)); // it finds that the others have gone on without it
            }
            if self.nodes[node].is_stopped() {
                return;
            }
            let world_now = self.now;
            let Node { id, read, last, .. } = &self.nodes[node];
            let before = read.checked_sub(1).map(|at| self.engine.log[at].nonce);
            assert!(last.is_none() || before == *last, "{id} has read what isn't in the log");
            let Some(appended) = self.engine.log.get(*read) else { return };
            let Appended { first, at, batch, nonce, .. } = appended.clone();
            self.nodes[node].hear_log(world_now);
            let now = self.nodes[node].now(world_now);
            let Node { id, partition, read, restored, last, .. } = &mut self.nodes[node];
            partition.shard_mut().set_unix(at);
            let before = (partition.incarnation(), partition.shard().digest());
            let streams = partition.shard().totals().streams;
            let members: Vec<_> = partition.members().nodes().collect();
            let result = match batch {
                Some(batch) => partition.apply(first, at, batch, now),
                None => partition.fork(ForkId(nonce), (first, at), now),
            };
            *read += 1;
            *last = Some(nonce);
            if read <= restored {
                let after = (partition.incarnation(), partition.shard().digest());
                assert_eq!((after, result), (before, Err(Refused::Again)));
                continue;
            }
            if partition.unknown().is_some() {
                return; // what it has done of this batch stays with it
            }
            self.seen.gone += usize::from(partition.incarnation() > before.0);
            let forgotten = streams.saturating_sub(partition.shard().totals().streams);
            self.seen.forgotten += forgotten;
            exclude_departed(partition, SETTINGS);
            self.asks.follow(*id, partition);
            for compared in partition.take_compared() {
                assert!(compared.is_equal(), "{compared:?} at batch {at}");
                self.seen.compared += 1;
            }
            self.nodes[node].note_parked();
            self.note(node, result, &members);
            self.hear();
        }
    }
}
