//! A node that is lost begins again: its process becomes a new one, with the same id, arguments and environment.
//!
//! Nothing of it can survive by mistake, and whoever supervises the process notices nothing. What runs then is what a
//! restart would run: the file at the path of the program, which may have been replaced since. If there is none, it is the
//! program as it is in memory.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::log::NodeId;

/// The variable by which a process tells the one that it becomes what it was.
const VARIABLE: &str = "_BROKER_BEFORE";

/// The program of this process, even if its file is gone.
const OWN: &str = "/proc/self/exe";

/// What Linux writes behind the path of a program whose file was replaced or removed.
const DELETED: &[u8] = b" (deleted)";

/// A node that has served for so long was well: what happens next has nothing to do with what happened before.
const WELL: Duration = Duration::from_secs(60);

/// Maximum time to wait before the next beginning.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// What this process was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// How often it has begun again.
    pub(super) times: u64,
    /// How often of that it did so shortly after it had begun.
    in_a_row: u32,
    /// The node that it was last.
    pub(super) node: Option<NodeId>,
}

impl Before {
    /// What the environment says.
    pub(super) fn read() -> Self {
        std::env::var(VARIABLE).ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (times, in_a_row) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let node = u64::from_str_radix(words.next()?, 16).ok()?;
        Some(Self { times, in_a_row, node: Some(NodeId(node)) })
    }

    /// The same for the next process, when a node is lost that has served for so long.
    pub(super) fn next(self, node: NodeId, served: Duration) -> Self {
        let in_a_row = if served < WELL { self.in_a_row.saturating_add(1) } else { 1 };
        Self { times: self.times.saturating_add(1), in_a_row, node: Some(node) }
    }

    /// How long to wait before that one begins: no time at first, and longer each time in a row.
    pub(super) fn wait(self) -> Duration {
        match self.in_a_row {
            0 | 1 => Duration::ZERO,
            times => (Duration::from_secs(1) * 2_u32.saturating_pow(times - 2)).min(MAX_WAIT),
        }
    }

    /// Replaces this process by a new one. Returns why that can't be.
    pub fn begin(&self) -> CannotBegin {
        let own = PathBuf::from(OWN);
        let Ok(path) = std::env::current_exe() else { return self.replace_by(own) };
        let refused = self.replace_by(without_mark(&path));
        if refused.error.kind() == io::ErrorKind::NotFound { self.replace_by(own) } else { refused }
    }

    fn replace_by(&self, program: PathBuf) -> CannotBegin {
        let mut args = std::env::args_os();
        let name = args.next();
        let mut command = Command::new(&program);
        command.arg0(name.as_deref().unwrap_or(OsStr::new("broker")));
        let error = command.args(args).env(VARIABLE, self.to_string()).exec();
        CannotBegin { program, error }
    }
}

/// The path of a program's file, be it another one that is there now.
fn without_mark(path: &Path) -> PathBuf {
    let name = path.as_os_str().as_bytes();
    let unmarked = name.strip_suffix(DELETED).filter(|_| !path.exists()).unwrap_or(name);
    PathBuf::from(OsStr::from_bytes(unmarked))
}

/// Why a process can't be replaced by a new one.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be run: {error}", program.display())]
pub struct CannotBegin {
    program: PathBuf,
    error: io::Error,
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node.unwrap_or_default().0;
        write!(f, "{} {} {node:x}", self.times, self.in_a_row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(0xfe01);

    #[test]
    fn what_a_process_says_the_next_one_understands() {
        let before = Before::default().next(NODE, WELL).next(NODE, Duration::ZERO);
        assert_eq!(before, Before { times: 2, in_a_row: 2, node: Some(NODE) });
        assert_eq!(Before::parse(&before.to_string()), Some(before));
        for other in ["", "1", "1 2", "1 2 x", "-1 2 3"] {
            assert_eq!(Before::parse(other), None);
        }
    }

    #[test]
    fn a_file_that_was_replaced_is_run_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let [file, marked] = ["broker", "broker (deleted)"].map(|name| folder.path().join(name));
        assert_eq!(without_mark(&file), file);
        assert_eq!(without_mark(&marked), file);
        std::fs::write(&marked, "").unwrap();
        assert_eq!(without_mark(&marked), marked, "what it is called");
    }

    #[test]
    fn who_is_lost_again_and_again_waits_longer_each_time() {
        let (mut before, mut waits) = (Before::default(), Vec::new());
        for _ in 0..8 {
            before = before.next(NODE, WELL / 2);
            waits.push(before.wait().as_secs());
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30]);
        let before = before.next(NODE, WELL);
        assert_eq!((before.times, before.wait()), (9, Duration::ZERO));
        let always = Before { in_a_row: u32::MAX, ..before };
        assert_eq!(always.next(NODE, Duration::ZERO).wait(), MAX_WAIT);
    }
}
