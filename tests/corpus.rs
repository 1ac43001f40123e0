//! What fuzzing has found worth keeping, once more: the inputs in `fuzz/corpus` and
//! `fuzz/regressions` through the functions that they were found with.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[expect(unreachable_pub, reason = "the fuzzers' library is only a module here")]
#[expect(clippy::indexing_slicing, clippy::panic, reason = "a target fails by panicking")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

#[test]
fn every_kept_input_passes() {
    let mut failures = Vec::new();
    for (target, run) in fuzz::TARGETS {
        let corpus = inputs(&format!("corpus/{target}"));
        assert!(!corpus.is_empty(), "{target} has no corpus");
        for file in corpus.into_iter().chain(inputs(&format!("regressions/{target}"))) {
            let input = fs::read(&file).unwrap();
            if catch_unwind(|| run(&input)).is_err() {
                failures.push(format!("{target}: {}", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "what was said above is about\n{}", failures.join("\n"));
}

#[test]
fn whatever_is_kept_has_a_target() {
    let mut known: Vec<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    for (folder, is_whole) in [("corpus", true), ("regressions", false), ("fuzz_targets", true)] {
        let names: Vec<String> = inputs(folder).iter().map(|path| stem(path)).collect();
        assert!(names.iter().all(|name| known.contains(name)), "fuzz/{folder} has {names:?}");
        assert!(!is_whole || names == known, "fuzz/{folder} has {names:?}");
    }
}

/// What is in a folder of `fuzz`, in order; nothing if there is none.
fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}
