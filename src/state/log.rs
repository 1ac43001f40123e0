//! A shard's log on disk: the entries it applied, written before their effects are sent.
//!
//! ```text
//! append ── one write ──→ file of this generation, then the mark    in the shard's turn
//! begin_snapshot ───────→ a new generation, which extends the old    …
//! append × n ───────────→ every stream's state, and new entries
//! end_snapshot ─────────→ the item that makes the new one complete
//!                          fdatasync, then the old one is removed    in the background (Keeper)
//! ```
//!
//! During a snapshot the old and the new generation together are the log. So only one file is written
//! at any time, and a crash at any point leaves a whole log.
//!
//! A log with missing entries is worse than none: after a restart it would reuse positions that clients
//! have seen. So after a write error the log removes its files and the files they extend, and retries
//! with a snapshot every few seconds. Meanwhile the broker runs without persistence.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::directory::{MarkName, Name};
use super::format::{self, Basis, Header, Item, Mark};
use super::keeper::{Disk, Written};
use crate::log::{Entry, Position, SessionChange};

/// Minimum size of a file that is replaced by a snapshot, in bytes.
const SMALL: u64 = 16 * 1024 * 1024;

/// Growth since the last snapshot, as a factor, after which the next one is due.
const GROWTH: u64 = 2;

/// Time between a failure and the next attempt.
const RETRY: Duration = Duration::from_secs(5);

/// Interval at which a lasting failure is logged.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Capacity above which the buffer is freed after a turn, in bytes.
const KEPT_BUFFER: usize = 64 * 1024;

/// One shard's log. Calls return once the system has accepted the write; none fails, see
/// [`Log::is_failing`].
#[derive(Debug)]
pub struct Log {
    disk: Arc<Disk>,
    shard: u32,
    mode: Mode,
    /// Number of the last generation.
    generation: u64,
    buffer: Vec<u8>,
    /// Time at which a failure was last logged.
    told: Option<Instant>,
}

#[derive(Debug)]
enum Mode {
    Writing(Writing),
    Failing {
        /// Time of the next attempt.
        again: Instant,
    },
}

#[derive(Debug)]
struct Writing {
    file: Arc<File>,
    length: u64,
    /// The file that records the length.
    mark: File,
    /// Length after the snapshot.
    base: u64,
    /// Whether the snapshot isn't complete yet.
    snapshot: bool,
    /// Time at which a snapshot that could not begin is retried.
    again: Option<Instant>,
}

impl Log {
    pub(super) fn begin(disk: Arc<Disk>, shard: u32, basis: Basis, now: Instant) -> Self {
        let mode = Mode::Failing { again: now }; // until there is a file
        disk.instruments.state_failing.increment(1.0);
        let mut log = Self { disk, shard, mode, generation: 0, buffer: Vec::new(), told: None };
        match log.next_generation(basis) {
            Ok(writing) => log.start(writing),
            Err(error) => log.fail(&error, now),
        }
        log
    }

    /// Appends applied entries in one write. If it fails, nothing is on disk until the next snapshot.
    pub fn append(&mut self, entries: &[Entry], now: Instant) {
        if matches!(self.mode, Mode::Writing(_)) {
            format::encode(entries, &mut self.buffer);
            self.write(now);
        }
    }

    /// Appends changes of sessions, likewise.
    pub fn append_sessions(
        &mut self,
        changes: impl IntoIterator<Item = SessionChange>,
        now: Instant,
    ) {
        if matches!(self.mode, Mode::Writing(_)) {
            for change in changes {
                format::encode_item(&Item::Session(change), &mut self.buffer);
            }
            self.write(now);
        }
    }

    /// Whether the last write failed, so that nothing is on disk.
    pub fn is_failing(&self) -> bool {
        matches!(self.mode, Mode::Failing { .. })
    }

    /// Whether a snapshot is due: the file has grown, or there is none.
    pub fn wants_snapshot(&self, now: Instant) -> bool {
        match &self.mode {
            Mode::Failing { again } => *again <= now,
            Mode::Writing(writing) => {
                let grown = writing.length > SMALL.max(GROWTH.saturating_mul(writing.base));
                let may = !writing.snapshot && writing.again.is_none_or(|again| again <= now);
                grown && may || self.disk.has_failed(self.shard)
            }
        }
    }

    /// Time at which [`Self::wants_snapshot`] becomes true without a write.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.mode {
            Mode::Failing { again } => Some(*again),
            Mode::Writing(_) => None,
        }
    }

    /// Whether a snapshot is under way. Append each stream's snapshot, beginning with its
    /// [`Change::Snapshot`](crate::log::Change::Snapshot), then call [`Self::end_snapshot`]. A log that
    /// extends those of earlier runs begins with a snapshot.
    pub fn is_in_snapshot(&self) -> bool {
        matches!(&self.mode, Mode::Writing(Writing { snapshot: true, .. }))
    }

    /// Begins a snapshot, if it can.
    pub fn begin_snapshot(&mut self, now: Instant) {
        if self.disk.has_failed(self.shard) {
            self.write(now); // writes nothing; handles the keeper's error
        }
        match &self.mode {
            Mode::Writing(Writing { length, .. }) => {
                let basis = Basis::Generation { number: self.generation, length: *length };
                match self.next_generation(basis) {
                    Ok(writing) => self.mode = Mode::Writing(writing),
                    Err(error) => self.put_off(&error, now),
                }
            }
            Mode::Failing { .. } => {
                let disk = &self.disk;
                let cleared = disk.directory.restore().and_then(|()| disk.clear(self.shard));
                match cleared.and_then(|()| self.next_generation(Basis::Lost)) {
                    Ok(writing) => {
                        self.start(writing);
                        tracing::info!(shard = self.shard, "state is written to disk again");
                    }
                    Err(error) => self.fail(&error, now),
                }
            }
        }
    }

    /// Ends a snapshot after all streams have been appended. `forgotten` is the time of the newest
    /// publication of a forgotten stream, in milliseconds of the Unix epoch; `next` is the position of
    /// the next entry.
    pub fn end_snapshot(&mut self, forgotten: u64, next: Position, now: Instant) {
        if !self.is_in_snapshot() {
            return; // a write failed meanwhile
        }
        format::encode_item(&Item::Complete { forgotten, next }, &mut self.buffer);
        self.write(now);
        if let Mode::Writing(writing) = &mut self.mode {
            writing.snapshot = false;
            writing.base = writing.length;
            let complete = (self.generation, writing.length);
            self.disk.tail(self.shard, |tail| tail.complete = Some(complete));
        }
    }

    /// Records a clean stop, and syncs all files.
    pub fn close(mut self, now: Instant) {
        if self.is_failing() {
            return;
        }
        format::encode_item(&Item::Closed, &mut self.buffer);
        self.write(now);
        let files = self.disk.tail(self.shard, |tail| tail.files.clone()).unwrap_or_default();
        let synced = files.iter().try_for_each(|written| written.file.sync_all());
        if let Err(error) = synced.and_then(|()| self.disk.directory.sync()) {
            self.fail(&error, now);
        }
    }

    /// Begins to write, initially or after a failure.
    fn start(&mut self, writing: Writing) {
        self.mode = Mode::Writing(writing);
        self.told = None;
        self.disk.instruments.state_failing.decrement(1.0);
    }

    fn write(&mut self, now: Instant) {
        let failed = self.disk.tail(self.shard, |tail| tail.failed.take()).flatten();
        let Mode::Writing(writing) = &mut self.mode else { return };
        let length = writing.length + self.buffer.len() as u64;
        let mark = Mark { generation: self.generation, length }.encode();
        let result = match failed {
            Some(error) => Err(error),
            None => (&*writing.file)
                .write_all(&self.buffer)
                .and_then(|()| writing.mark.write_all_at(&mark, 0)),
        };
        if result.is_ok() {
            writing.length = length;
            self.disk.tail(self.shard, |tail| {
                if let Some(last) = tail.files.last_mut() {
                    last.length = length;
                }
            });
        }
        self.buffer.clear();
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        if let Err(error) = result {
            self.fail(&error, now);
        }
    }

    /// Creates a file and writes its header.
    fn next_generation(&mut self, basis: Basis) -> io::Result<Writing> {
        let disk = &self.disk;
        let (run, shard) = (disk.run, self.shard);
        self.generation += 1;
        let generation = self.generation;
        let name = Name { run, shard, generation };
        let header = Header {
            boot: disk.boot,
            run,
            shards: disk.shards(),
            shard,
            generation,
            basis,
            log: disk.log,
        };
        let mut header = header.encode();
        if !disk.has_history {
            format::encode_item(&Item::WithoutHistory, &mut header);
        }
        let file = disk.directory.create(name)?;
        let length = header.len() as u64;
        let begun = (&file).write_all(&header).and_then(|()| {
            let mark = disk.directory.open_mark(MarkName { run, shard })?;
            mark.write_all_at(&Mark { generation, length }.encode(), 0)?;
            Ok(mark)
        });
        let mark = match begun {
            Ok(mark) => mark,
            Err(error) => {
                disk.directory.remove(name)?;
                return Err(error);
            }
        };
        let file = Arc::new(file);
        let complete = basis == Basis::Nothing;
        let written = Written { generation, file: Arc::clone(&file), length, synced: None };
        disk.tail(shard, |tail| {
            tail.failed = None;
            tail.files.push(written);
            if complete {
                tail.complete = Some((generation, length));
            }
        });
        Ok(Writing { file, length, mark, base: length, snapshot: !complete, again: None })
    }

    /// Postpones a snapshot; the old generation is written meanwhile.
    fn put_off(&mut self, error: &io::Error, now: Instant) {
        self.count(error, now, "failed to compact state on disk");
        if let Mode::Writing(writing) = &mut self.mode {
            writing.again = Some(now + RETRY);
        }
    }

    fn fail(&mut self, error: &io::Error, now: Instant) {
        let failing = Mode::Failing { again: now + RETRY };
        if let Mode::Writing(_) = std::mem::replace(&mut self.mode, failing) {
            self.disk.instruments.state_failing.increment(1.0);
        }
        self.count(error, now, "failed to write state to disk: a restart now would lose it");
        if let Err(error) = self.disk.clear(self.shard) {
            tracing::warn!(%error, shard = self.shard, "failed to remove old state from disk");
        }
    }

    fn count(&mut self, error: &io::Error, now: Instant, what: &str) {
        self.disk.instruments.state_failures.increment(1);
        let since = self.told.map(|told| now.saturating_duration_since(told));
        if since.is_none_or(|since| since >= TOLD_EVERY) {
            tracing::warn!(%error, shard = self.shard, "{what}");
            self.told = Some(now);
        }
    }
}
