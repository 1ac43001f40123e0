//! Persistent state: a directory with the log of each shard. With it, a restart causes no storm of
//! leaves and joins.
//!
//! ```text
//! StateDir::open ─→ Loaded: each stream's changes     (from the files of earlier runs)
//! StateDir::begin ─→ a Log for each shard ─→ append before anything is sent
//!                └→ Keeper: syncs and removes files in the background
//! ```
//!
//! [`mod@format`] defines the file format, [`Log`] writes files, [`Loaded`] is their content. A crash at
//! any moment leaves a whole log:
//!
//! - A new run's files extend those of earlier runs until every shard has written all its streams. A
//!   new generation extends the previous one. So a write always appends to a complete log.
//! - A file's header names the file it extends and that file's length. A power loss that truncates
//!   the earlier file is detected by it.
//! - A mark beside a shard's files records their length at the last commit. It tells a write that a
//!   crash interrupted from data lost later.
//! - A file is removed only after its replacement has been synced. Files aren't written to after the
//!   next one begins, and never renamed into place.

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

/// A locked state directory, before anything is written to it.
#[derive(Debug)]
pub struct StateDir {
    directory: Directory,
    boot: Boot,
    before: Before,
    /// What a new log extends.
    basis: Basis,
}

impl StateDir {
    /// Locks the directory and reads its files. `boot` is the machine's, [`Boot::current`] outside of
    /// tests. Unusable files are set aside and listed in [`Loaded::warnings`].
    pub fn open(dir: &Path, boot: Boot) -> Result<(Self, Loaded), OpenError> {
        let directory = Directory::open(dir)?;
        let unreadable = |source| OpenError::Unwritable { dir: dir.to_path_buf(), source };
        let (loaded, before) = load::load(&directory, boot).map_err(unreadable)?;
        let nothing =
            loaded.streams.is_empty() && loaded.sessions.is_empty() && loaded.forgotten == 0;
        let nothing = nothing && loaded.has_history && loaded.ending != Ending::Incomplete;
        let basis = if nothing { Basis::Nothing } else { Basis::Runs };
        Ok((Self { directory, boot, before, basis }, loaded))
    }

    /// Begins a run: a log for each shard, in order, and their keeper. The caller appends the loaded
    /// state to the new logs; see [`Log::is_in_snapshot`]. `has_history` says whether publications are
    /// kept. Waits for the disk, so that the run's files survive a power loss.
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
                tracing::warn!(%error, file = %file.name, "failed to sync the state of an earlier run");
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
        let (state, _) = StateDir::open(dir.path(), Boot::from_bits(1)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let (logs, keeper) =
            state.begin(3, true, LogId(1), &Arc::new(Instruments::new()), Instant::now());
        assert_eq!(logs.len(), 3);
        for tail in &keeper.disk.tails {
            assert!(tail.lock().files.iter().all(|file| file.synced == Some(file.length)));
        }
    }
}
