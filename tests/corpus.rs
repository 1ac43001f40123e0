//! Replays the fuzzers' corpora (`fuzz/corpus`, an archive for each target) and the inputs of faults
//! that were repaired (`fuzz/regressions`) through the functions they were found with.

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use broker::log::Change;
use flate2::read::GzDecoder;
use tar::Archive;

#[expect(unreachable_pub, reason = "the fuzzers' library is only a module here")]
#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target fails by panicking"
)]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

const CHANGES: [&str; 25] = [
    "Began",
    "Forgotten",
    "Published",
    "Whispered",
    "Arrived",
    "Joined",
    "Left",
    "Put",
    "Kicked",
    "Expired",
    "Subscribed",
    "Unsubscribed",
    "Ended",
    "Lapsed",
    "Resumed",
    "Restarted",
    "Snapshot",
    "Kept",
    "Record",
    "Resumable",
    "Noted",
    "Idle",
    "Used",
    "ForgottenByAll",
    "Forked",
];

#[test]
fn every_kept_input_passes() {
    let mut failures = Vec::new();
    for (target, run) in fuzz::TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{target} has no corpus");
        let regressions = files(&format!("regressions/{target}"))
            .into_iter()
            .map(|path| (path.display().to_string(), fs::read(&path).unwrap()));
        for (name, input) in corpus.into_iter().chain(regressions) {
            if catch_unwind(|| run(&input)).is_err() {
                failures.push(format!("{target}: {name}"));
            }
        }
    }
    assert!(failures.is_empty(), "the panics above came from\n{}", failures.join("\n"));
}

/// Inputs from before a change of the encoding are refused early, and cover little.
#[test]
fn kept_logs_have_every_change() {
    let in_files = corpus("state").into_iter().flat_map(|(_, input)| fuzz::state::changes(&input));
    let logs = corpus("replicas").into_iter().filter_map(|(_, input)| fuzz::replicas::read(&input));
    let in_logs = logs.flat_map(|(_, log)| log).map(|entry| entry.change);
    for (target, changes) in
        [("state", in_files.collect()), ("replicas", in_logs.collect::<Vec<_>>())]
    {
        let missing = CHANGES.into_iter().filter(|kind| !changes.iter().any(|it| is(it, kind)));
        let missing: Vec<&str> = missing.collect();
        assert!(
            missing.is_empty(),
            "{target} has no {missing:?}: `make seeds`, fuzz, and `make corpus`"
        );
    }
}

#[test]
fn whatever_is_kept_has_a_target() {
    let mut known: Vec<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    for (folder, is_whole) in [("corpus", true), ("regressions", false), ("fuzz_targets", true)] {
        let names: Vec<String> = files(folder).iter().map(|path| stem(path)).collect();
        assert!(names.iter().all(|name| known.contains(name)), "fuzz/{folder} has {names:?}");
        assert!(!is_whole || names == known, "fuzz/{folder} has {names:?}");
    }
}

/// Whether a change is of a kind, by the name of its variant.
fn is(change: &Change, kind: &str) -> bool {
    format!("{change:?}").split(|c: char| !c.is_alphanumeric()).next() == Some(kind)
}

/// A target's corpus: the entries of its archive, each with its name.
#[expect(clippy::panic, reason = "a test fails by panicking")]
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let path = fuzz_folder(&format!("corpus/{target}.tar.gz"));
    read_archive(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_archive(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = Archive::new(GzDecoder::new(File::open(path)?));
    let entries = archive.entries()?.map(|entry| {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut input = Vec::new();
        entry.read_to_end(&mut input)?;
        Ok((name, input))
    });
    entries.collect()
}

/// What is in a folder of `fuzz`, in order; nothing if there is none.
fn files(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(fuzz_folder(folder)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn fuzz_folder(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder)
}

/// A file's name up to its first dot.
fn stem(path: &Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}
