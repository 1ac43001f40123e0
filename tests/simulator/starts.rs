//! How nodes start: from the beginning of the log, or from a snapshot that another one took.

use std::time::Instant;

use broker::cluster::{Item, Partition, SnapshotItem};
use broker::shard::Settings;

/// A snapshot in the engine.
#[derive(Debug)]
pub(crate) struct Saved {
    items: Vec<Vec<u8>>,
    /// Number of batches before it.
    pub(crate) batches: usize,
    digest: u64,
}

/// Takes a snapshot in slices. In between, anything may happen but batches.
pub(crate) fn save(
    partition: &mut Partition<usize>,
    (batches, slice): (usize, usize),
    mut meanwhile: impl FnMut(&mut Partition<usize>),
) -> Saved {
    let (mut place, mut items, digest) = (Some(0), Vec::new(), partition.shard().digest());
    while let Some(at) = place {
        let (slice, next) = partition.snapshot(at, slice);
        items.extend(slice.iter().map(|item| postcard::to_stdvec(item).unwrap()));
        place = next;
        meanwhile(partition);
    }
    Saved { items, batches, digest }
}

impl Saved {
    /// Restores it in a partition that has read nothing.
    pub(crate) fn restore(&self, partition: &mut Partition<usize>, unix: u64, now: Instant) {
        let mut is_complete = false;
        for item in &self.items {
            assert!(!is_complete, "something follows the head");
            let item: SnapshotItem = postcard::from_bytes(item).unwrap();
            is_complete = partition.restore(item, unix, now);
        }
        assert!(is_complete, "the head is missing");
        assert_eq!(partition.shard().digest(), self.digest);
    }
}

/// Proposes the end of the nodes that were found to be gone.
pub(crate) fn exclude_departed(partition: &mut Partition<usize>, settings: Settings) {
    for (node, incarnation) in partition.take_departed() {
        partition.propose(Item::Gone { node, incarnation, ttl: settings.presence_ttl });
    }
}
