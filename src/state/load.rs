//! What a directory's files say, put together.
//!
//! A *run* is one life of the broker, with a chain of files for each of its shards. It is complete
//! once every shard has written all its streams; until then it stands on the runs before it. So the
//! last complete run counts and all after it, applied in order: what came later replaces or changes
//! what was known of a stream, and changes of a stream of which nothing is known mean nothing.
//!
//! A chain ends where its writing ended, in the middle of a change perhaps. Its mark says how far
//! that was at least: if there is less, the end was lost afterwards.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::BufReader;

use indexmap::IndexMap;

use super::directory::{Directory, MarkName, Name};
use super::format::{Basis, Boot, Fault, Header, HeaderError, Item, Mark, Reader};
use crate::log::{Change, Entry, LogId, Position};
use crate::types::{MemberEvent, PresenceId, StreamName};

/// How much is read at once, in bytes.
const BUFFER: usize = 256 * 1024;

/// What is known from before.
#[derive(Debug)]
pub struct Loaded {
    /// The log that all entries belong to, if it can go on: all of it is here that anyone was told.
    pub log: Option<LogId>,
    /// The position after all entries of what is here.
    pub next: Position,
    /// Each stream's entries in order, from a [`Change::Snapshot`] or [`Change::Began`] on.
    pub streams: IndexMap<StreamName, Vec<Entry>>,
    /// When the newest publication of a stream that isn't here was made, in milliseconds of the
    /// Unix epoch; 0 if there was none.
    pub forgotten: u64,
    /// Whether every run since the streams began has kept publications. If not, what was published
    /// in one that hasn't is in no history.
    pub has_history: bool,
    /// How complete that is.
    pub ending: Ending,
    /// What was wrong with the files and what was done about it, a sentence each.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Takes the members of some presence ids out, as if they had left; whether there were any.
    pub fn take_out(&mut self, is_theirs: impl Fn(&PresenceId) -> bool) -> bool {
        let mut found = false;
        for entry in self.streams.values_mut().flatten() {
            if let Change::Joined { id, .. } | Change::Put { id, .. } | Change::Record { id, .. } =
                &entry.change
                && is_theirs(id)
            {
                entry.change = Change::Noted { id: id.clone(), event: MemberEvent::Left };
                found = true;
            }
        }
        found
    }
}

/// How the broker ended before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// In good order, or there is nothing from before: all is here.
    Clean,
    /// The process just ended. All that anyone was told is here.
    Crashed,
    /// The machine ended, a file is damaged, or the disk failed: something that clients were told
    /// may be missing, such as the newest publications of a stream.
    Incomplete,
}

/// A file of an earlier run, to be taken away once it is no longer needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earlier {
    pub(super) name: Name,
    /// Then it is set aside instead.
    pub(super) damaged: bool,
}

/// What a new run needs to know of those before.
#[derive(Debug)]
pub(super) struct Before {
    /// The number of the newest; 0 if there is none.
    pub(super) run: u64,
    pub(super) files: Vec<Earlier>,
}

/// The files of one run, by shard, the oldest first.
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
    /// Whether nothing before it is needed.
    complete: bool,
    /// Whether it says anything yet that clients may have been told of.
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
            forgotten: 0,
            has_history: true,
            ending: Ending::Clean,
            warnings: Vec::new(),
        },
    };
    let mut runs: Vec<(Run, Boot)> = Vec::new();
    let mut ended_in = boot; // the boot in which it was noticed that the run had ended
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
    loader.marks.retain(|name, _| name.run >= base); // what came before doesn't count any more
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
    /// The marks of logs that haven't been looked at; none is a damaged one.
    marks: BTreeMap<MarkName, Option<Mark>>,
    loaded: Loaded,
}

impl Loader<'_> {
    /// Reads a run's files; none if there is nothing in them.
    fn read_run(&mut self, names: &[Name]) -> Option<Run> {
        let mut run: Option<Run> = None;
        for &name in names {
            let read = match self.read(name) {
                Ok(read) => read,
                Err(HeaderError::Short) => continue, // it was just being made
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
                self.set_aside(name, "it is another file than its name says");
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
        // A shard without files can't write them, and then took away what came before; or the
        // broker ended while it made them, and nobody has been told anything.
        let all = run.chains.len() as u64 == u64::from(run.shards);
        if !all && !has_base {
            self.loaded.ending = Ending::Incomplete;
        }
        for chain in run.chains.into_values() {
            self.apply_chain(chain, ended_in, complete, has_base);
        }
    }

    fn apply_chain(&mut self, chain: Vec<Read>, ended_in: Boot, complete: bool, has_base: bool) {
        // Of a run that isn't complete all files count, as they say what was forgotten since.
        let starts = |read: &Read| read.header.basis == Basis::Lost || complete && read.complete;
        let start = chain.iter().rposition(starts).unwrap_or(0);
        let last_complete = chain.iter().rposition(|read| read.complete);
        let mut before: Option<Read> = None;
        for (at, mut read) in chain.into_iter().enumerate().skip(start) {
            if !read.complete && !read.follows(before.as_ref(), has_base) {
                self.loaded.ending = Ending::Incomplete;
                if before.is_some() && last_complete.is_none_or(|complete| complete < at) {
                    break; // what comes after a gap makes no sense, unless all is written anew
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
                    loaded.ending = Ending::Incomplete; // what was lost was told of in the other log
                }
                loaded.log = Some(log);
                loaded.next = loaded.next.max(entry.position.next());
                let stream = entry.stream.clone();
                if let Change::Forgotten { lost } = entry.change {
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
            Item::WithoutHistory => loaded.has_history = false,
            Item::Closed => {}
        }
    }

    /// How the writing of a shard's newest file ended.
    fn judge(&mut self, last: &Read, ended_in: Boot) {
        let same_boot = last.header.boot.is_same(ended_in);
        let Name { run, shard, generation } = last.name;
        let is_whole = match self.marks.remove(&MarkName { run, shard }) {
            Some(mark) => mark.is_some_and(|it| it <= Mark { generation, length: last.length }),
            None => last.blank, // it was just being made
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
                    "the machine ended while {} was written: what clients were told last may be \
                     missing",
                    last.name
                ));
                Ending::Incomplete
            }
        };
        self.loaded.ending = self.loaded.ending.max(ending);
    }

    /// What becomes of marks whose logs are gone.
    fn judge_missing(&mut self) {
        let Some(MarkName { run, shard }) = self.marks.keys().next().copied() else { return };
        if self.loaded.ending != Ending::Incomplete {
            self.warn(format!(
                "the state files {run:08}-{shard:03}-*.log are gone, so what clients were told may be \
                 missing"
            ));
        }
        self.loaded.ending = Ending::Incomplete;
    }

    fn cut(&mut self, name: Name, length: u64, fault: &dyn Display) {
        self.damaged(name);
        self.warn(format!(
            "the state file {name} is used up to byte {length} and will be set aside: {fault}, \
             so what clients were told last may be missing"
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
    /// Whether it stands without those before.
    fn is_complete(&self) -> bool {
        let complete =
            |shard| self.chains.get(&shard).is_some_and(|c| c.iter().any(|read| read.complete));
        (0..self.shards).all(complete)
    }
}

impl Read {
    /// Whether what it stands on is there in full.
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
