//! Loads the files of a state directory.
//!
//! A *run* is one life of the process, with a chain of files for each of its shards. It is complete once
//! every shard has written all its streams; until then it extends the runs before it. So the last
//! complete run and all later ones are applied in order. Later entries replace or change a stream's
//! state; entries of an unknown stream are ignored.
//!
//! A chain ends where writing stopped, possibly in the middle of an entry. Its mark records the minimum
//! length: a shorter chain has lost its end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::BufReader;

use indexmap::IndexMap;

use super::directory::{Directory, MarkName, Name};
use super::format::{Basis, Boot, Fault, Header, HeaderError, Item, Mark, Reader};
use crate::log::{Change, Entry, KnownSessions, LogId, Position};
use crate::types::StreamName;

/// Size of the read buffer, in bytes.
const BUFFER: usize = 256 * 1024;

/// State loaded from earlier runs.
#[derive(Debug)]
pub struct Loaded {
    /// The log that all entries belong to, if it can be continued: no committed entry is missing.
    pub log: Option<LogId>,
    /// The position after all loaded entries.
    pub next: Position,
    /// Each stream's entries in order, from a [`Change::Snapshot`] or [`Change::Began`] on.
    pub streams: IndexMap<StreamName, Vec<Entry>>,
    /// The sessions that the application knows.
    pub sessions: KnownSessions,
    /// Time of the newest publication of a forgotten stream, in milliseconds of the Unix epoch; 0 if
    /// there was none.
    pub forgotten: u64,
    /// Whether every run since the streams began has kept publications. If not, the histories have
    /// gaps.
    pub has_history: bool,
    /// How the last run ended, and so how complete the state is.
    pub ending: Ending,
    /// Problems with the files and how they were handled, one sentence each.
    pub warnings: Vec<String>,
}

/// How the last run of the broker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// In good order, or there was no run: the state is complete.
    Clean,
    /// The process crashed: every committed entry is there.
    Crashed,
    /// The machine crashed, a file is damaged, or the disk failed: committed entries may be missing,
    /// such as the newest publications of a stream.
    Incomplete,
}

/// A file of an earlier run, to be removed once it is no longer needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earlier {
    pub(super) name: Name,
    /// Whether to set it aside instead.
    pub(super) damaged: bool,
}

/// The earlier runs, as far as a new run needs them.
#[derive(Debug)]
pub(super) struct Before {
    /// Number of the newest run; 0 if there is none.
    pub(super) run: u64,
    pub(super) files: Vec<Earlier>,
}

/// The files of one run, by shard, oldest first.
struct Run {
    shards: u32,
    boot: Boot,
    chains: BTreeMap<u32, Vec<Read>>,
}

/// A file that could be read.
struct Read {
    name: Name,
    header: Header,
    items: Vec<Item>,
    length: u64,
    fault: Option<Fault>,
    /// Whether it has all streams, so that no earlier file is needed.
    complete: bool,
    /// Whether it has no entry yet.
    blank: bool,
    closed: bool,
}

pub(super) fn load(directory: &Directory, boot: Boot) -> std::io::Result<(Loaded, Before)> {
    let names = directory.files()?;
    let marks = directory.marks()?;
    let mut loader = Loader {
        directory,
        files: names.iter().map(|&name| Earlier { name, damaged: false }).collect(),
        marks: marks.iter().map(|&name| (name, directory.read_mark(name))).collect(),
        loaded: Loaded {
            log: None,
            next: Position(1),
            streams: IndexMap::new(),
            sessions: KnownSessions::default(),
            forgotten: 0,
            has_history: true,
            ending: Ending::Clean,
            warnings: Vec::new(),
        },
    };
    let mut runs: Vec<(Run, Boot)> = Vec::new();
    let mut ended_in = boot; // the boot in which the run was found to have ended
    let mut base = 0;
    for of_run in names.chunk_by(|a, b| a.run == b.run).rev() {
        let Some(run) = loader.read_run(of_run) else { continue };
        let (complete, began_in) = (run.is_complete(), run.boot);
        runs.push((run, ended_in));
        ended_in = began_in;
        if complete {
            base = of_run.first().map_or(0, |name| name.run);
            break;
        }
    }
    loader.marks.retain(|name, _| name.run >= base); // earlier runs are replaced
    let mut has_base = false;
    for (run, ended_in) in runs.into_iter().rev() {
        loader.apply_run(run, ended_in, has_base);
        has_base = true;
    }
    loader.judge_missing();
    let newest = [names.last().map(|name| name.run), marks.last().map(|mark| mark.run)];
    let run = newest.into_iter().flatten().max().unwrap_or_default();
    Ok((loader.loaded, Before { run, files: loader.files }))
}

struct Loader<'a> {
    directory: &'a Directory,
    files: Vec<Earlier>,
    /// Marks of logs not applied yet; `None` for a damaged mark.
    marks: BTreeMap<MarkName, Option<Mark>>,
    loaded: Loaded,
}

impl Loader<'_> {
    /// Reads a run's files; `None` if none is usable.
    fn read_run(&mut self, names: &[Name]) -> Option<Run> {
        let mut run: Option<Run> = None;
        for &name in names {
            let read = match self.read(name) {
                Ok(read) => read,
                Err(HeaderError::Short) => continue, // interrupted while it was created
                Err(reason @ HeaderError::Unreadable(_)) => {
                    self.warn(format!("the state file {name} is left out: {reason}"));
                    self.damaged(name);
                    continue;
                }
                Err(
                    reason @ (HeaderError::Foreign
                    | HeaderError::Older(_)
                    | HeaderError::Newer(_)
                    | HeaderError::Damaged),
                ) => {
                    self.set_aside(name, &reason.to_string());
                    continue;
                }
            };
            let Header { shards, boot, .. } = read.header;
            let run = run.get_or_insert_with(|| Run { shards, boot, chains: BTreeMap::new() });
            let Header { run: number, shard, generation, .. } = read.header;
            if (Name { run: number, shard, generation }) != name || shards != run.shards {
                self.set_aside(name, "its header doesn't match its name");
                continue;
            }
            run.chains.entry(shard).or_default().push(read);
        }
        run.filter(|run| !run.chains.is_empty())
    }

    fn read(&self, name: Name) -> Result<Read, HeaderError> {
        let file = self.directory.read(name).map_err(HeaderError::Unreadable)?;
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, file))?;
        let mut items = Vec::new();
        let fault = loop {
            match reader.read() {
                Ok(Some(frame)) => items.extend(frame),
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        let (header, length) = (*reader.header(), reader.length());
        let whole = |item: &Item| matches!(item, Item::Complete { .. });
        let complete = header.basis == Basis::Nothing || items.iter().any(whole);
        let blank = items.iter().all(|item| *item == Item::WithoutHistory);
        let closed = items.last() == Some(&Item::Closed);
        Ok(Read { name, header, items, length, fault, complete, blank, closed })
    }

    fn apply_run(&mut self, run: Run, ended_in: Boot, has_base: bool) {
        let complete = run.is_complete();
        // a shard without files either failed to write and removed the earlier ones, or was interrupted
        // before its first commit
        let all = run.chains.len() as u64 == u64::from(run.shards);
        if !all && !has_base {
            self.loaded.ending = Ending::Incomplete;
        }
        for chain in run.chains.into_values() {
            self.apply_chain(chain, ended_in, complete, has_base);
        }
    }

    fn apply_chain(&mut self, chain: Vec<Read>, ended_in: Boot, complete: bool, has_base: bool) {
        // in an incomplete run all files count: they record which streams were forgotten
        let starts = |read: &Read| read.header.basis == Basis::Lost || complete && read.complete;
        let start = chain.iter().rposition(starts).unwrap_or(0);
        let last_complete = chain.iter().rposition(|read| read.complete);
        let mut before: Option<Read> = None;
        for (at, mut read) in chain.into_iter().enumerate().skip(start) {
            let stands_alone = complete && read.complete;
            if !stands_alone && !read.follows(before.as_ref(), has_base) {
                self.loaded.ending = Ending::Incomplete;
                if before.is_some() && last_complete.is_none_or(|complete| complete < at) {
                    break; // entries after a gap are useless without a later snapshot
                }
            }
            let log = read.header.log;
            for item in std::mem::take(&mut read.items) {
                self.apply(item, log);
            }
            before = Some(read);
        }
        if let Some(last) = before {
            self.judge(&last, ended_in);
        }
    }

    fn apply(&mut self, item: Item, log: LogId) {
        let loaded = &mut self.loaded;
        match item {
            Item::Entry(entry) => {
                if loaded.log.is_some_and(|before| before != log) {
                    loaded.ending = Ending::Incomplete; // the log id changes only after a loss
                }
                loaded.log = Some(log);
                loaded.next = loaded.next.max(entry.position.next());
                let stream = entry.stream.clone();
                if let Change::Forgotten { lost, .. } = entry.change {
                    loaded.streams.swap_remove(&stream);
                    loaded.forgotten = loaded.forgotten.max(lost);
                } else if let Change::Snapshot { .. } | Change::Began { .. } = entry.change {
                    loaded.streams.insert(stream, vec![entry]);
                } else if let Some(entries) = loaded.streams.get_mut(&stream) {
                    entries.push(entry);
                }
            }
            Item::Complete { forgotten, next } => {
                loaded.forgotten = loaded.forgotten.max(forgotten);
                loaded.next = loaded.next.max(next);
            }
            // void: the end of a log may refer to what isn't there
            Item::Session(change) => drop(loaded.sessions.apply(Position(0), &change)),
            Item::WithoutHistory => loaded.has_history = false,
            Item::Closed => {}
        }
    }

    /// Judges how writing of a shard's newest file ended.
    fn judge(&mut self, last: &Read, ended_in: Boot) {
        let same_boot = last.header.boot.is_same(ended_in);
        let Name { run, shard, generation } = last.name;
        let is_whole = match self.marks.remove(&MarkName { run, shard }) {
            Some(mark) => mark.is_some_and(|it| it <= Mark { generation, length: last.length }),
            None => last.blank, // interrupted while it was created
        };
        let ending = match &last.fault {
            None if last.closed => Ending::Clean,
            None | Some(Fault::Short) if same_boot && is_whole => Ending::Crashed,
            None | Some(Fault::Short) if same_boot => {
                self.cut(last.name, last.length, &"it has lost its end");
                Ending::Incomplete
            }
            Some(Fault::Damaged) if same_boot => {
                self.cut(last.name, last.length, &Fault::Damaged);
                Ending::Incomplete
            }
            Some(fault @ Fault::Unreadable(_)) => {
                self.cut(last.name, last.length, fault);
                Ending::Incomplete
            }
            None | Some(Fault::Short | Fault::Damaged) => {
                self.warn(format!(
                    "the machine ended while {} was written: the newest publications and presence \
                     changes may be missing",
                    last.name
                ));
                Ending::Incomplete
            }
        };
        self.loaded.ending = self.loaded.ending.max(ending);
    }

    /// Reports marks whose logs are missing.
    fn judge_missing(&mut self) {
        let Some(MarkName { run, shard }) = self.marks.keys().next().copied() else { return };
        if self.loaded.ending != Ending::Incomplete {
            self.warn(format!(
                "the state files {run:08}-{shard:03}-*.log are gone, so publications and presence \
                 changes may be missing"
            ));
        }
        self.loaded.ending = Ending::Incomplete;
    }

    fn cut(&mut self, name: Name, length: u64, fault: &dyn Display) {
        self.damaged(name);
        self.warn(format!(
            "the state file {name} is used up to byte {length} and will be set aside: {fault}, \
             so the newest publications and presence changes may be missing"
        ));
    }

    fn set_aside(&mut self, name: Name, reason: &str) {
        self.loaded.ending = Ending::Incomplete;
        match self.directory.set_aside(name) {
            Ok(aside) => {
                self.files.retain(|file| file.name != name);
                self.warn(format!(
                    "the state file {name} is not used: {reason}; it is {aside} now"
                ));
            }
            Err(error) => {
                self.damaged(name);
                self.warn(format!(
                    "the state file {name} is not used: {reason}; it can't be renamed: {error}"
                ));
            }
        }
    }

    fn damaged(&mut self, name: Name) {
        self.loaded.ending = Ending::Incomplete;
        for file in self.files.iter_mut().filter(|file| file.name == name) {
            file.damaged = true;
        }
    }

    fn warn(&mut self, sentence: String) {
        self.loaded.warnings.push(sentence);
    }
}

impl Run {
    /// Whether it needs no earlier run.
    fn is_complete(&self) -> bool {
        let complete =
            |shard| self.chains.get(&shard).is_some_and(|c| c.iter().any(|read| read.complete));
        (0..self.shards).all(complete)
    }
}

impl Read {
    /// Whether the file it extends is there in full.
    fn follows(&self, before: Option<&Self>, has_base: bool) -> bool {
        match (self.header.basis, before) {
            (Basis::Generation { number, length }, Some(before)) => {
                before.name.generation == number && before.length == length
            }
            (Basis::Runs, None) => has_base,
            (Basis::Nothing, None) => true,
            (Basis::Nothing | Basis::Runs | Basis::Lost, _) | (Basis::Generation { .. }, None) => {
                false
            }
        }
    }
}
