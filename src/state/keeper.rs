//! Background work on the state files: syncs what was written, and removes files that are no longer
//! needed.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::directory::{Directory, MarkName, Name};
use super::format::Boot;
use super::load::Earlier;
use crate::log::LogId;
use crate::telemetry::Instruments;

/// State that the logs of a run share with its keeper.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) directory: Directory,
    pub(super) boot: Boot,
    pub(super) run: u64,
    /// The log that this run's entries belong to.
    pub(super) log: LogId,
    /// Whether this run keeps publications.
    pub(super) has_history: bool,
    pub(super) instruments: Arc<Instruments>,
    /// The files of earlier runs, until this one is complete.
    pub(super) earlier: Mutex<Vec<Earlier>>,
    /// By shard.
    pub(super) tails: Vec<Mutex<Tail>>,
}

/// A shard's files on disk.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Oldest first; the last one is written to.
    pub(super) files: Vec<Written>,
    /// The newest generation that has all streams, and its length when it got them.
    pub(super) complete: Option<(u64, u64)>,
    /// An error of the keeper, for the log to handle.
    pub(super) failed: Option<io::Error>,
}

/// A file and its length.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) generation: u64,
    pub(super) file: Arc<File>,
    pub(super) length: u64,
    /// Synced length; `None` if not even its name is synced.
    pub(super) synced: Option<u64>,
}

impl Tail {
    /// The newest generation that has all streams, if it is synced that far.
    fn complete(&self) -> Option<u64> {
        let (generation, length) = self.complete?;
        let file = self.files.iter().find(|file| file.generation == generation)?;
        file.synced.is_some_and(|synced| synced >= length).then_some(generation)
    }
}

impl Disk {
    #[expect(clippy::cast_possible_truncation, reason = "one for each core")]
    pub(super) fn shards(&self) -> u32 {
        self.tails.len() as u32
    }

    /// Calls `look` with a shard's files.
    pub(super) fn tail<T>(&self, shard: u32, look: impl FnOnce(&mut Tail) -> T) -> Option<T> {
        self.tails.get(shard as usize).map(|tail| look(&mut tail.lock()))
    }

    /// Whether the keeper met an error.
    pub(super) fn has_failed(&self, shard: u32) -> bool {
        self.tail(shard, |tail| tail.failed.is_some()).unwrap_or_default()
    }

    /// Removes a shard's files, and the files of earlier runs. Oldest first, and the mark last, so that
    /// the remaining files are never taken for a complete log.
    pub(super) fn clear(&self, shard: u32) -> io::Result<()> {
        self.clear_earlier()?;
        let all = |tail: &mut Tail| {
            tail.complete = None;
            tail.files.iter().map(|written| written.generation).collect()
        };
        let generations: Vec<u64> = self.tail(shard, all).unwrap_or_default();
        self.remove(shard, &generations)?;
        self.directory.remove_mark(MarkName { run: self.run, shard })
    }

    fn clear_earlier(&self) -> io::Result<()> {
        let mut earlier = self.earlier.lock();
        if earlier.is_empty() {
            return Ok(());
        }
        while let Some(&Earlier { name, damaged }) = earlier.first() {
            if damaged {
                self.directory.set_aside(name)?;
            } else {
                self.directory.remove(name)?;
            }
            earlier.remove(0);
        }
        let marks = self.directory.marks()?;
        let mut old = marks.into_iter().filter(|mark| mark.run < self.run);
        old.try_for_each(|mark| self.directory.remove_mark(mark))
    }

    fn remove(&self, shard: u32, generations: &[u64]) -> io::Result<()> {
        for &generation in generations {
            self.directory.remove(Name { run: self.run, shard, generation })?;
            self.tail(shard, |tail| tail.files.retain(|file| file.generation != generation));
        }
        Ok(())
    }
}

/// Syncs and removes the files of a run; see [`Keeper::pass`].
#[derive(Debug)]
pub struct Keeper {
    pub(super) disk: Arc<Disk>,
}

impl Keeper {
    /// Syncs all files, then removes those that the logs no longer need. Blocks on the disk.
    pub fn pass(&self) {
        let disk = &self.disk;
        for shard in 0..disk.shards() {
            self.sync(shard);
        }
        if let Err(error) = self.tidy() {
            tracing::debug!(%error, "failed to remove old state from disk");
        }
        self.measure();
    }

    /// Makes a pass every `interval` in a thread, until the guard is dropped.
    pub fn every(self, interval: Duration) -> io::Result<KeeperGuard> {
        let (stop, stopped) = sync_channel::<()>(0);
        let passes = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                self.pass();
            }
        };
        let thread = std::thread::Builder::new().name("state".to_owned()).spawn(passes)?;
        Ok(KeeperGuard { stop: Some(stop), thread: Some(thread) })
    }

    fn sync(&self, shard: u32) {
        let disk = &self.disk;
        let files = disk.tail(shard, |tail| tail.files.clone()).unwrap_or_default();
        let last = files.last().map(|last| last.generation);
        for Written { generation, file, length, synced } in files {
            let result = if Some(generation) == last && is_removed(&file) {
                Err(io::Error::new(io::ErrorKind::NotFound, "the file has been removed"))
            } else if synced.is_some_and(|synced| synced >= length) {
                continue;
            } else {
                file.sync_data().and_then(|()| match synced {
                    Some(_) => Ok(()),
                    None => disk.directory.sync(),
                })
            };
            let failed = disk.tail(shard, |tail| {
                let Some(file) = tail.files.iter_mut().find(|file| file.generation == generation)
                else {
                    return false; // removed meanwhile
                };
                match result {
                    Ok(()) => file.synced = Some(length),
                    Err(error) => tail.failed = Some(error),
                }
                tail.failed.is_some()
            });
            if failed == Some(true)
                && let Err(error) = disk.clear(shard)
            {
                tracing::warn!(%error, shard, "failed to remove old state from disk");
            }
        }
    }

    /// Removes files that are no longer needed. While files of earlier runs remain, all are needed: only
    /// this run's files record which streams were forgotten since.
    fn tidy(&self) -> io::Result<()> {
        let disk = &self.disk;
        let complete: Vec<Option<u64>> =
            disk.tails.iter().map(|tail| tail.lock().complete()).collect();
        if complete.iter().all(Option::is_some) {
            disk.clear_earlier()?;
        }
        if !disk.earlier.lock().is_empty() {
            return Ok(());
        }
        for (shard, complete) in (0..).zip(complete) {
            let Some(complete) = complete else { continue };
            let old = |tail: &mut Tail| {
                let generations = tail.files.iter().map(|file| file.generation);
                generations.filter(|generation| *generation < complete).collect()
            };
            let generations: Vec<u64> = disk.tail(shard, old).unwrap_or_default();
            disk.remove(shard, &generations)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floats, and far from 2^52")]
    fn measure(&self) {
        let of = |tail: &Mutex<Tail>| tail.lock().files.iter().map(|file| file.length).sum::<u64>();
        let bytes: u64 = self.disk.tails.iter().map(of).sum();
        self.disk.instruments.state_bytes.set(bytes as f64);
    }
}

/// Guard of the keeper's thread. Dropping it waits for a running pass and ends the thread.
#[derive(Debug)]
pub struct KeeperGuard {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for KeeperGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join()); // a panic has been logged
        }
    }
}

/// Whether a file has been unlinked. If that can't be read, the next write reports the error.
fn is_removed(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_counts_once_all_of_it_would_survive() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let written =
            |synced| Written { generation: 2, file: Arc::clone(&file), length: 9, synced };
        let mut tail = Tail { complete: Some((2, 7)), ..Tail::default() };
        assert_eq!(tail.complete(), None, "there is no such file");
        for (synced, counts) in [(None, None), (Some(6), None), (Some(7), Some(2))] {
            tail.files = vec![written(synced)];
            assert_eq!(tail.complete(), counts);
        }
        tail.complete = None;
        assert_eq!(tail.complete(), None);
    }
}
