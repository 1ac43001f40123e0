//! How nodes append to the log, and read it.

use broker::cluster::{ForkId, Refused};

use crate::engine::Appended;
use crate::faults::Fate;
use crate::node::Node;
use crate::starts::exclude_departed;
use crate::world::{SETTINGS, World};

impl World {
    pub(crate) fn append(&mut self, node: usize, fate: Fate) {
        let Node { partition, is_unanswered, .. } = &mut self.nodes[node];
        if let Some(batch) = partition.poll_append() {
            *is_unanswered = !self.engine.append(batch, fate);
        }
    }

    pub(crate) fn retry(&mut self, node: usize) {
        let Node { partition, is_unanswered, .. } = &mut self.nodes[node];
        if std::mem::take(is_unanswered) {
            partition.handle_append_failed();
        }
        self.append(node, Fate::Stored);
    }

    pub(crate) fn read(&mut self, node: usize, batches: usize) {
        for _ in 0..batches {
            let Node { id, partition, read, restored, .. } = &mut self.nodes[node];
            let Some(appended) = self.engine.log.get(*read) else { return };
            let Appended { first, at, batch } = appended.clone();
            let before = (partition.incarnation(), partition.shard().digest());
            let streams = partition.shard().totals().streams;
            let result = match batch {
                Some(batch) => partition.apply(first, at, batch, self.now),
                None => partition.fork(ForkId(first.0), (first, at), self.now),
            };
            *read += 1;
            if read <= restored {
                let after = (partition.incarnation(), partition.shard().digest());
                assert_eq!((after, result), (before, Err(Refused::Again)));
                continue;
            }
            self.seen.gone += usize::from(partition.incarnation() > before.0);
            let shard = partition.shard();
            self.seen.forgotten += streams.saturating_sub(shard.totals().streams);
            let (at, found) = (*read, ([shard.digest(), shard.forgotten()], result));
            let expected = *self.results.entry(at).or_insert(found);
            assert_eq!(found, expected, "after batch {at}: {appended:#?}");
            exclude_departed(partition, SETTINGS);
            self.asks.follow(*id, partition);
            self.nodes[node].note_parked();
            self.hear();
        }
    }
}
