//! Access to a shard for tests: its entries, and its answers.

use broker::log::Entry;
use broker::shard::{Destination, Shard, Unkept};

pub(crate) trait Door {
    /// What has happened since this was last asked.
    fn take_entries(&mut self) -> Vec<Entry>;

    /// An outcome, without keeping what it is about.
    fn open<T>(&mut self, outcome: Unkept<T>) -> T;
}

impl<R: Destination> Door for Shard<R> {
    fn take_entries(&mut self) -> Vec<Entry> {
        let mut taken = Vec::new();
        self.commit(|entries| taken.extend_from_slice(entries));
        taken
    }

    fn open<T>(&mut self, outcome: Unkept<T>) -> T {
        self.commit(|_| ()).open(outcome)
    }
}
