//! The state directory: its lock, the names of its files, and creating and removing them.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::format::{Boot, Mark};
use crate::config::Plain;

/// Maximum of files that were set aside; the oldest are removed.
const ASIDE: usize = 8;

/// Suffix of a file that was set aside.
const SUFFIX: &str = ".aside";

/// Why a directory can't be used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path isn't a directory.
    #[error(
        "--state-dir {} is a file, not a directory: give a directory that the broker may write to, \
         or a path where it may create one", dir.display()
    )]
    NoDirectory {
        /// The path.
        dir: PathBuf,
    },
    /// It doesn't exist and can't be created.
    #[error(
        "--state-dir {} can't be created ({}): create it, or give a directory that the \
         broker may write to", dir.display(), Plain(source)
    )]
    Create {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It exists, and can't be read or written.
    #[error(
        "--state-dir {} can't be read and written ({}): give a directory that the broker \
         may write to", dir.display(), Plain(source)
    )]
    Unwritable {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has locked it.
    #[error(
        "--state-dir {} is in use by another broker: stop that one, or give each a directory of \
         its own", dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
}

/// A directory that no other process uses.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// The lock file; closing it releases the lock.
    lock: Mutex<File>,
}

/// Name of a state file. Names sort from oldest to newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) run: u64,
    pub(super) shard: u32,
    pub(super) generation: u64,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, shard, generation } = self;
        write!(f, "{run:08}-{shard:03}-{generation:06}.log")
    }
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_suffix(".log")?.splitn(3, '-');
        let name = Self {
            run: parts.next()?.parse().ok()?,
            shard: parts.next()?.parse().ok()?,
            generation: parts.next()?.parse().ok()?,
        };
        (name.to_string() == text).then_some(name)
    }
}

/// Name of a shard's mark in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MarkName {
    pub(super) run: u64,
    pub(super) shard: u32,
}

impl fmt::Display for MarkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, shard } = self;
        write!(f, "{run:08}-{shard:03}.mark")
    }
}

impl MarkName {
    fn parse(text: &str) -> Option<Self> {
        let (run, shard) = text.strip_suffix(".mark")?.split_once('-')?;
        let name = Self { run: run.parse().ok()?, shard: shard.parse().ok()? };
        (name.to_string() == text).then_some(name)
    }
}

impl Directory {
    /// Creates the directory if it doesn't exist, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let dir = || path.to_path_buf();
        if path.is_file() {
            return Err(OpenError::NoDirectory { dir: dir() });
        }
        make(path).map_err(|source| OpenError::Create { dir: dir(), source })?;
        let unwritable = |source| OpenError::Unwritable { dir: dir(), source };
        let lock = lock(path).map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked { dir: dir() },
            TryLockError::Error(source) => unwritable(source),
        })?;
        match probe(path) {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(unwritable(error)),
            Ok(()) | Err(_) => Ok(Self { path: dir(), lock: Mutex::new(lock) }),
        }
    }

    /// Creates the directory again if it has been removed.
    pub(super) fn restore(&self) -> io::Result<()> {
        let mut held = self.lock.lock();
        if held.metadata()?.nlink() == 0 {
            make(&self.path)?;
            *held = lock(&self.path)?;
        }
        Ok(())
    }

    /// All state files, oldest first. Files with other names are ignored.
    pub(super) fn files(&self) -> io::Result<Vec<Name>> {
        self.names(Name::parse)
    }

    /// All marks, oldest first.
    pub(super) fn marks(&self) -> io::Result<Vec<MarkName>> {
        self.names(MarkName::parse)
    }

    fn names<T: Ord>(&self, parse: impl Fn(&str) -> Option<T>) -> io::Result<Vec<T>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().to_str().and_then(&parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a mark; `None` if it is damaged.
    pub(super) fn read_mark(&self, name: MarkName) -> Option<Mark> {
        Mark::decode(&fs::read(self.path.join(name.to_string())).ok()?)
    }

    /// Opens a mark for writing; creates it if it doesn't exist.
    pub(super) fn open_mark(&self, name: MarkName) -> io::Result<File> {
        let mut open = OpenOptions::new();
        open.write(true).create(true).truncate(false).mode(0o600);
        open.open(self.path.join(name.to_string()))
    }

    /// Removes a mark, if it exists.
    pub(super) fn remove_mark(&self, name: MarkName) -> io::Result<()> {
        remove(&self.path.join(name.to_string()))
    }

    pub(super) fn read(&self, name: Name) -> io::Result<File> {
        File::open(self.path_of(name))
    }

    /// Creates a file to append to.
    pub(super) fn create(&self, name: Name) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.path_of(name))
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&self, name: Name) -> io::Result<()> {
        remove(&self.path_of(name))
    }

    /// Renames an unusable file, for the operator to look at. Never replaces another file. Returns the
    /// new name.
    pub(super) fn set_aside(&self, name: Name) -> io::Result<String> {
        let names = (1..).map(|n| match n {
            1 => format!("{name}{SUFFIX}"),
            n => format!("{name}{SUFFIX}{n}"),
        });
        for aside in names {
            let to = self.path.join(&aside);
            if fs::exists(&to)? {
                continue;
            }
            let from = self.path_of(name);
            gone(fs::rename(&from, to)).map_err(|error| at(&from, &error))?;
            self.keep_few()?;
            return Ok(aside);
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Syncs the directory, so that created and removed files survive a power loss.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn keep_few(&self) -> io::Result<()> {
        let mut aside = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.split_once(SUFFIX).and_then(|(name, _)| Name::parse(name));
            aside.extend(ours.map(|name| (name, entry.path())));
        }
        aside.sort_unstable();
        let many = aside.len().saturating_sub(ASIDE);
        aside.into_iter().take(many).try_for_each(|(_, path)| remove(&path))
    }

    fn path_of(&self, name: Name) -> PathBuf {
        self.path.join(name.to_string())
    }
}

impl Boot {
    /// The machine's current boot.
    pub fn current() -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let bits =
            id.ok().and_then(|id| u128::from_str_radix(&id.trim().replace('-', ""), 16).ok());
        bits.map_or(Self::UNKNOWN, Self::from_bits)
    }
}

/// Removes a file, if it exists.
fn remove(path: &Path) -> io::Result<()> {
    gone(fs::remove_file(path)).map_err(|error| at(path, &error))
}

/// An error that says where it occurred.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Creates the directory for its user only, as files contain names and infos.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn lock(path: &Path) -> Result<File, TryLockError> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(false).mode(0o600);
    let file = open.open(path.join("lock")).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// Checks that files can be created and removed.
fn probe(path: &Path) -> io::Result<()> {
    let probe = path.join("probe");
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe)?;
    fs::remove_file(probe)
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = Name { run: 7, shard: 12, generation: 3 };
        assert_eq!(name.to_string(), "00000007-012-000003.log");
        assert_eq!(Name::parse("00000007-012-000003.log"), Some(name));
        let large = Name { run: u64::MAX, shard: u32::MAX, generation: u64::MAX };
        assert_eq!(Name::parse(&large.to_string()), Some(large));
        for other in
            ["", "lock", ".log", "7-12-3.log", "00000007-012-000003.log.aside", "a-b-c.log"]
        {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn marks_are_named_likewise() {
        let name = MarkName { run: 7, shard: 12 };
        assert_eq!(name.to_string(), "00000007-012.mark");
        assert_eq!(MarkName::parse("00000007-012.mark"), Some(name));
        for other in ["", ".mark", "7-12.mark", "00000007-012-000003.log", "00000007-012"] {
            assert_eq!(MarkName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_few_are_kept_aside_and_none_is_lost_to_another() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        let name = Name { run: 5, shard: 0, generation: 1 };
        for content in ["one", "two"] {
            fs::write(directory.path_of(name), content).unwrap();
            directory.set_aside(name).unwrap();
        }
        let read = |name: String| fs::read_to_string(temporary.path().join(name)).unwrap();
        assert_eq!(read(format!("{name}.aside")), "one");
        assert_eq!(read(format!("{name}.aside2")), "two");
        for run in 6..20 {
            let name = Name { run, ..name };
            fs::write(directory.path_of(name), "more").unwrap();
            directory.set_aside(name).unwrap();
        }
        let left = fs::read_dir(temporary.path()).unwrap().count();
        assert_eq!(left, ASIDE + 1, "those and the lock");
        assert_eq!(read(format!("{}.aside", Name { run: 19, ..name })), "more");
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        let name = Name { run: 5, shard: 0, generation: 1 };
        directory.remove(name).unwrap(); // there is none
        let path = directory.path_of(name);
        fs::create_dir(&path).unwrap();
        let error = directory.remove(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }

    #[test]
    fn this_machine_has_a_boot() {
        assert!(Boot::current().is_same(Boot::current()));
    }
}
