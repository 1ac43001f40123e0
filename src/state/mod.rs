//! What outlives the process: a directory with the log of each shard, so that a restart makes no
//! storm of leaves and joins.
//!
//! ```text
//! State::open ─→ Loaded: each stream's changes     (from the files of the runs before)
//! State::begin ─→ a Log for each shard ─→ append before anyone is told
//!              └→ Keeper: syncs and tidies in the background
//! ```
//!
//! [`mod@format`] says what is in a file, [`Log`] when it is written, [`Loaded`] what is read. There is
//! no order in which a crash leaves less than a whole log:
//!
//! - A new run's files stand on those of earlier runs until every shard has written all its
//!   streams, and a new generation on the one before it. What is being written is always the end of
//!   a log that is complete.
//! - A file says what it stands on, with its length: a power loss that takes the end of the one and
//!   not the other is noticed.
//! - A mark beside a shard's files says how much of them had been written when anyone was last told:
//!   what a crash left half written is told from what was lost later.
//! - Nothing is removed before what replaces it has been synced; files are never written to again
//!   after the next one begins, and never renamed into place.

mod directory;
pub mod format;
mod keeper;
mod load;
mod log;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

pub use directory::OpenError;
pub use format::Boot;
pub use keeper::{Keeper, KeeperGuard};
pub use load::{Ending, Loaded};
pub use log::Log;

use crate::log::LogId;
use crate::telemetry::Instruments;
use directory::Directory;
use format::Basis;
use keeper::Disk;
use load::Before;

/// A directory that is this process' alone, before anything is written to it.
#[derive(Debug)]
pub struct State {
    directory: Directory,
    boot: Boot,
    before: Before,
    /// What a log that begins now stands on.
    basis: Basis,
}

impl State {
    /// Takes the directory and reads what is there. `boot` is the machine's, [`Boot::current`]
    /// outside of tests. Files that are of no use are set aside and told in
    /// [`Loaded::warnings`].
    pub fn open(dir: &Path, boot: Boot) -> Result<(Self, Loaded), OpenError> {
        let directory = Directory::open(dir)?;
        let unreadable = |source| OpenError::Unwritable { dir: dir.to_path_buf(), source };
        let (loaded, before) = load::load(&directory, boot).map_err(unreadable)?;
        let nothing = loaded.streams.is_empty() && loaded.forgotten == 0;
        let nothing = nothing && loaded.has_history && loaded.ending != Ending::Incomplete;
        let basis = if nothing { Basis::Nothing } else { Basis::Runs };
        Ok((Self { directory, boot, before, basis }, loaded))
    }

    /// Begins a run: a log for each shard, in order, and what looks after them. Whatever was
    /// loaded is to be appended to the new logs; see [`Log::is_in_snapshot`]. `has_history` is
    /// whether publications are kept. Waits for the disk, so that a power loss later can't hide that
    /// there has been this run.
    pub fn begin(
        self,
        shards: usize,
        has_history: bool,
        log: LogId,
        instruments: &Arc<Instruments>,
        now: Instant,
    ) -> (Vec<Log>, Keeper) {
        let Self { directory, boot, before, basis } = self;
        for file in &before.files {
            let synced = directory.read(file.name).and_then(|file| file.sync_all());
            if let Err(error) = synced {
                tracing::warn!(%error, file = %file.name, "state from before can't be synced");
            }
        }
        let disk = Arc::new(Disk {
            directory,
            boot,
            run: before.run.saturating_add(1),
            log,
            has_history,
            instruments: Arc::clone(instruments),
            earlier: Mutex::new(before.files),
            tails: (0..shards).map(|_| Mutex::default()).collect(),
        });
        let log = |shard| Log::begin(Arc::clone(&disk), shard, basis, now);
        let logs = (0..disk.shards()).map(log).collect();
        let keeper = Keeper { disk };
        keeper.pass();
        (logs, keeper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_on_disk_before_it_does_anything() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(dir.path(), Boot::from_bits(1)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let (logs, keeper) =
            state.begin(3, true, LogId(1), &Arc::new(Instruments::new()), Instant::now());
        assert_eq!(logs.len(), 3);
        for tail in &keeper.disk.tails {
            assert!(tail.lock().files.iter().all(|file| file.synced == Some(file.length)));
        }
    }
}
