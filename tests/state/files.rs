//! Files in strange hands: foreign, newer, damaged, and a directory that is somebody else's.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use broker::state::format::{self, Entry};
use broker::state::{Boot, Ending, Loaded, OpenError, State};
use broker::telemetry::Instruments;

use super::view::{self, BOOT, Views, apply, apply_all, began, joined, published};

/// A directory in which a broker with two shards wrote two streams and ended without notice.
fn written(dir: &Path) -> Views {
    let (state, _) = view::open(dir, BOOT);
    let (mut logs, _keeper) = view::begin(state, 2);
    let mut views = Views::new();
    for (log, stream) in logs.iter_mut().zip(["a", "b"]) {
        let mut tell = |changes: &[broker::log::Change]| {
            log.append(changes, Instant::now());
            apply_all(&mut views, changes);
        };
        tell(&[began(stream, "e")]);
        tell(&joined(&stream.into(), 1, 2));
    }
    for _ in 0..3 {
        let next = published(&"a".into(), &views[&"a".into()]);
        logs[0].append([&next], Instant::now());
        apply(&mut views, &next);
    }
    views
}

fn aside(file: &Path) -> PathBuf {
    format!("{}.aside", file.display()).into()
}

fn told(loaded: &Loaded, sentence: &str) -> bool {
    loaded.warnings.iter().any(|warning| warning.contains(sentence))
}

#[test]
fn what_is_foreign_or_newer_is_set_aside_and_the_rest_is_used() {
    fn flipped(mut bytes: Vec<u8>, at: usize, bits: u8) -> Vec<u8> {
        bytes[at] ^= bits;
        bytes
    }
    let other = tempfile::tempdir().unwrap();
    written(other.path());
    let bytes = fs::read(&view::files(other.path())[1]).unwrap();
    let elsewhere = fs::read(&view::files(other.path())[0]).unwrap();
    let cases = [
        (b"#!/bin/sh".to_vec(), "it is not a state file"),
        (
            flipped(bytes.clone(), 8, 8),
            "a newer version of the broker wrote it (format 11, this one reads up to 3)",
        ),
        (flipped(bytes, 20, 1), "its first bytes are damaged"),
        (elsewhere, "it is another file than its name says"),
    ];
    for (bytes, reason) in cases {
        let dir = tempfile::tempdir().unwrap();
        let views = written(dir.path());
        let second = view::files(dir.path())[1].clone();
        fs::write(&second, &bytes).unwrap();
        let loaded = view::load(dir.path(), BOOT);
        assert_eq!(loaded.ending, Ending::Incomplete, "{reason}");
        assert!(told(&loaded, reason) && loaded.warnings.len() == 1, "{:?}", loaded.warnings);
        let found = view::views(&loaded);
        assert_eq!(found.get(&"a".into()), views.get(&"a".into()), "{reason}");
        assert_eq!(found.len(), 1, "{reason}");
        assert!(!second.exists());
        assert_eq!(fs::read(aside(&second)).unwrap(), bytes, "it is as it was");
    }
}

#[test]
fn other_files_are_nobodys_business() {
    let dir = tempfile::tempdir().unwrap();
    let views = written(dir.path());
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    fs::write(dir.path().join("notes.log"), "mine").unwrap();
    let loaded = view::load(dir.path(), BOOT);
    assert_eq!((view::views(&loaded), loaded.ending), (views, Ending::Crashed));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(fs::read(dir.path().join("notes.log")).unwrap(), b"mine");
}

#[test]
fn a_damaged_file_is_used_up_to_there_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let views = written(dir.path());
    let file = view::files(dir.path())[0].clone();
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (state, loaded) = view::open(dir.path(), BOOT);
    assert_eq!(loaded.ending, Ending::Incomplete);
    assert!(told(&loaded, "it is damaged"), "{:?}", loaded.warnings);
    let found = view::views(&loaded);
    assert_eq!(found[&"a".into()].head, 2, "the last of three is damaged");
    assert_eq!(found[&"b".into()], views[&"b".into()]);
    assert_eq!(fs::read(&file).unwrap(), bytes, "it is still needed");

    let (mut logs, keeper) = view::begin(state, 1);
    for (stream, view) in &found {
        logs[0].append(&view::dump(stream, view), Instant::now());
    }
    logs[0].end_snapshot(0, Instant::now());
    keeper.pass();
    assert!(!file.exists());
    assert_eq!(fs::read(aside(&file)).unwrap(), bytes);
    drop((logs, keeper));
    let loaded = view::load(dir.path(), BOOT);
    assert_eq!((view::views(&loaded), loaded.ending), (found, Ending::Crashed));
}

/// The end of the process in the middle of a write leaves half a frame, of which nobody was told; the
/// end of the machine may have left that of any.
#[test]
fn half_a_frame_is_told_by_the_boot() {
    for (boot, ending) in [(BOOT, Ending::Crashed), (Boot::from_bits(2), Ending::Incomplete)] {
        let dir = tempfile::tempdir().unwrap();
        let views = written(dir.path());
        let file = view::files(dir.path())[0].clone();
        let mut bytes = fs::read(&file).unwrap();
        let whole = bytes.len();
        format::encode([&published(&"a".into(), &views[&"a".into()])], &mut bytes);
        for cut in [whole + 1, whole + 20, bytes.len() - 1] {
            fs::write(&file, &bytes[..cut]).unwrap();
            let loaded = view::load(dir.path(), boot);
            assert_eq!((view::views(&loaded), loaded.ending), (views.clone(), ending));
            assert!(file.exists() && !aside(&file).exists(), "that is nothing to look into");
            assert_eq!(told(&loaded, "the machine ended"), ending == Ending::Incomplete);
        }
    }
}

#[test]
fn a_file_that_lost_its_end_is_used_up_to_there_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let views = written(dir.path());
    let file = view::files(dir.path())[0].clone();
    let bytes = fs::read(&file).unwrap();
    let mut before = views[&"a".into()].clone();
    before.head -= 1;
    let last = published(&"a".into(), &before);
    let mut frame = Vec::new();
    format::encode([&last], &mut frame);
    assert!(bytes.ends_with(&frame));
    for lost in [1, frame.len() - 1, frame.len()] {
        let left = &bytes[..bytes.len() - lost];
        fs::write(&file, left).unwrap();
        let (state, loaded) = view::open(dir.path(), BOOT);
        assert_eq!(loaded.ending, Ending::Incomplete, "{lost} bytes are missing");
        assert!(told(&loaded, "it has lost its end"), "{:?}", loaded.warnings);
        assert_eq!(view::views(&loaded)[&"a".into()].head, 2);
        assert_eq!(fs::read(&file).unwrap(), left, "it is still needed");
        drop(state);
    }
    for empty in [&b""[..], b"brokerst"] {
        fs::write(&file, empty).unwrap();
        let loaded = view::load(dir.path(), BOOT);
        assert_eq!(loaded.ending, Ending::Incomplete, "{empty:?} is left");
    }
    let mark = dir.path().join("00000001-000.mark");
    fs::write(&file, &bytes).unwrap();
    assert_eq!(view::load(dir.path(), BOOT).ending, Ending::Crashed);
    fs::remove_file(&mark).unwrap();
    assert_eq!(view::load(dir.path(), BOOT).ending, Ending::Incomplete, "its length isn't known");
}

#[test]
fn marks_go_with_their_logs() {
    let dir = tempfile::tempdir().unwrap();
    let views = written(dir.path());
    let marks = || view::files_of(dir.path(), &["mark"]).len();
    assert_eq!(marks(), 2);
    let (state, _) = view::open(dir.path(), BOOT);
    let (mut logs, keeper) = view::begin(state, 1);
    assert_eq!(marks(), 3);
    for (stream, view) in &views {
        logs[0].append(&view::dump(stream, view), Instant::now());
    }
    logs[0].end_snapshot(0, Instant::now());
    keeper.pass();
    assert_eq!((marks(), view::files(dir.path()).len()), (1, 1));
    for file in view::files(dir.path()) {
        fs::remove_file(file).unwrap();
    }
    drop((logs, keeper));
    let (state, loaded) = view::open(dir.path(), BOOT);
    assert_eq!((loaded.ending, loaded.streams.len()), (Ending::Incomplete, 0));
    assert!(told(&loaded, "00000002-000-*.log are gone"), "{:?}", loaded.warnings);
    drop(view::begin(state, 1));
    assert_eq!(view::load(dir.path(), BOOT).ending, Ending::Incomplete, "that is not forgotten");
}

#[test]
fn a_stop_in_good_order_is_known_in_any_boot() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = view::open(dir.path(), BOOT);
    let (mut logs, keeper) = view::begin(state, 2);
    logs[1].append([&began("b", "e")], Instant::now());
    for log in logs {
        log.close(Instant::now());
    }
    drop(keeper);
    for boot in [BOOT, Boot::from_bits(2), Boot::UNKNOWN] {
        let loaded = view::load(dir.path(), boot);
        assert_eq!((loaded.ending, loaded.streams.len()), (Ending::Clean, 1));
    }
    let file = view::files(dir.path())[1].clone();
    let decoded = format::decode(&fs::read(file).unwrap()).unwrap();
    assert_eq!(decoded.entries.last(), Some(&Entry::Closed));
}

#[test]
fn what_was_forgotten_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = view::open(dir.path(), BOOT);
    let (mut logs, keeper) = view::begin(state, 1);
    let forgotten = broker::log::Change::Forgotten { stream: "a".into(), lost: 7 };
    logs[0].append([&began("a", "e"), &forgotten], Instant::now());
    drop((logs, keeper));
    let (state, loaded) = view::open(dir.path(), BOOT);
    assert_eq!((loaded.forgotten, loaded.streams.len()), (7, 0));
    let (mut logs, keeper) = view::begin(state, 1);
    assert!(logs[0].is_in_snapshot(), "it is still to be written, though no stream is");
    logs[0].end_snapshot(7, Instant::now());
    keeper.pass();
    assert_eq!(view::files(dir.path()).len(), 1);
    drop((logs, keeper));
    assert_eq!(view::load(dir.path(), BOOT).forgotten, 7);
}

#[test]
fn a_run_without_history_is_known_until_a_later_one_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let run = |has_history| {
        let (state, loaded) = view::open(dir.path(), BOOT);
        let (logs, keeper) =
            state.begin(2, has_history, &Arc::new(Instruments::new()), Instant::now());
        (loaded.has_history, logs, keeper)
    };
    let (knows, ..) = run(false); // which ends before it has written anything
    assert!(knows, "all runs had one");
    for has_history in [true, false, true] {
        let (knows, mut logs, keeper) = run(has_history);
        assert!(!knows, "one run had none");
        for log in &mut logs {
            log.end_snapshot(0, Instant::now());
            log.begin_snapshot(Instant::now()); // a later file says so, too
            log.end_snapshot(0, Instant::now());
        }
        keeper.pass();
        drop((logs, keeper));
        assert_eq!(view::load(dir.path(), BOOT).has_history, has_history);
        drop(run(false));
    }
}

#[test]
fn names_and_infos_are_nobody_elses() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("not/yet");
    written(&dir);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_directory_that_can_not_be_one_is_told_in_a_sentence() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let taken = State::open(&file, BOOT).unwrap_err();
    assert!(matches!(taken, OpenError::NoDirectory { .. }), "{taken}");
    for dir in [&file.join("below"), Path::new("/proc/broker-state")] {
        let error = State::open(dir, BOOT).unwrap_err();
        assert!(matches!(error, OpenError::Create { .. }), "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains(&*dir.to_string_lossy()) && sentence.contains("create it"));
    }
    let read_only = State::open(Path::new("/proc/self"), BOOT).unwrap_err();
    assert!(matches!(read_only, OpenError::Unwritable { .. }), "{read_only}");
}

/// Set in the process that holds a directory until it is killed.
const HELD: &str = "BROKER_TEST_HELD_DIR";

#[test]
fn one_process_has_it_and_its_end_sets_it_free() {
    if let Some(dir) = std::env::var_os(HELD) {
        let _held = view::open(Path::new(&dir), BOOT);
        println!("\nheld");
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let held = view::open(dir.path(), BOOT);
    let error = State::open(dir.path(), BOOT).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("in use by another broker"), "{error}");
    drop(held);

    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::one_process_has_it_and_its_end_sets_it_free", "--nocapture"])
        .env(HELD, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("held")), "the other process doesn't have it");
    assert!(matches!(State::open(dir.path(), BOOT), Err(OpenError::Locked { .. })));
    other.kill().unwrap();
    other.wait().unwrap();
    drop(view::open(dir.path(), BOOT));
}
