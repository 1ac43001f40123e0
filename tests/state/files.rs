//! Foreign, newer and damaged files, and a directory of another user.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use broker::log::{Change, LogId, Position};
use broker::state::format::{self, Item};
use broker::state::{Boot, Ending, Loaded, Log, OpenError, StateDir};
use broker::telemetry::Instruments;

use super::view::{self, BOOT, LOG, Places, Views, apply_all, began, forgotten, joined, published};

/// A directory in which a broker with two shards wrote two streams and ended without notice; and
/// where its log goes on.
fn written(dir: &Path) -> (Views, Places) {
    let (state, _) = view::open(dir, BOOT);
    let (mut logs, _keeper) = view::begin(state, 2);
    let (mut views, mut places) = (Views::new(), Places::new());
    let mut tell = |log: usize, stream: &str, changes: &[Change]| {
        let entries = places.entries(stream, changes.iter().cloned());
        logs[log].append(&entries, Instant::now());
        apply_all(&mut views, &entries);
    };
    for (log, stream) in ["a", "b"].iter().enumerate() {
        tell(log, stream, &[began()]);
        tell(log, stream, &joined(1, 2));
    }
    for _ in 0..3 {
        tell(0, "a", &[published()]);
    }
    (views, places)
}

/// Writes all that was found to a run that begins, with one shard.
fn write_anew(log: &mut Log, found: &Views, places: &Places) {
    for (stream, view) in found {
        log.append(&view::dump(stream, view, places), Instant::now());
    }
    log.end_snapshot(0, places.0, Instant::now());
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
            "a newer version of the broker wrote it (format 13, this one reads 5)",
        ),
        (
            flipped(bytes.clone(), 8, 6),
            "an earlier version of the broker wrote it (format 3, this one reads 5)",
        ),
        (flipped(bytes, 20, 1), "its first bytes are damaged"),
        (elsewhere, "its header doesn't match its name"),
    ];
    for (bytes, reason) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (views, _) = written(dir.path());
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
    let (views, _) = written(dir.path());
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
    let (views, _) = written(dir.path());
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

    let (mut logs, keeper) = view::begin_log(state, 1, LogId(6));
    write_anew(&mut logs[0], &found, &Places(loaded.next));
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
        let (views, mut places) = written(dir.path());
        let file = view::files(dir.path())[0].clone();
        let mut bytes = fs::read(&file).unwrap();
        let whole = bytes.len();
        format::encode([&places.entry("a", published())], &mut bytes);
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
    let (_, places) = written(dir.path());
    let file = view::files(dir.path())[0].clone();
    let bytes = fs::read(&file).unwrap();
    let last = Places(Position(places.0.0 - 1)).entry("a", published());
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
    let (views, places) = written(dir.path());
    let marks = || view::files_of(dir.path(), &["mark"]).len();
    assert_eq!(marks(), 2);
    let (state, _) = view::open(dir.path(), BOOT);
    let (mut logs, keeper) = view::begin(state, 1);
    assert_eq!(marks(), 3);
    write_anew(&mut logs[0], &views, &places);
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
    logs[1].append(&[Places::new().entry("b", began())], Instant::now());
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
    assert_eq!(decoded.items.last(), Some(&Item::Closed));
}

/// Files of format 3, which has entries of another kind behind a shorter header.
#[test]
fn files_of_an_earlier_version_are_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    for shard in [0_u32, 1] {
        let mut bytes = b"brokerst".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(1_u128.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend([2, shard].map(u32::to_le_bytes).concat());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend([0; 1 + 8 + 8]);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mark = format::Mark { generation: 1, length: bytes.len() as u64 };
        fs::write(dir.path().join(format!("00000001-{shard:03}-000001.log")), &bytes).unwrap();
        fs::write(dir.path().join(format!("00000001-{shard:03}.mark")), mark.encode()).unwrap();
    }
    let files = view::files(dir.path());
    let (state, loaded) = view::open(dir.path(), BOOT);
    assert_eq!((loaded.ending, loaded.streams.len()), (Ending::Incomplete, 0));
    assert_eq!((loaded.log, loaded.next), (None, Position(1)));
    let sentence = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        format!(
            "the state file {name} is not used: an earlier version of the broker wrote it (format \
             3, this one reads 5); it is {name}.aside now"
        )
    };
    let mut sentences: Vec<String> = files.iter().map(sentence).collect();
    sentences.sort();
    let mut warnings = loaded.warnings.clone();
    warnings.sort();
    assert_eq!(warnings, sentences);
    assert!(files.iter().all(|file| !file.exists() && aside(file).exists()));

    // of which the next run says nothing more, once it has written what there is
    let (mut logs, keeper) = view::begin(state, 1);
    assert_eq!(view::files(dir.path())[0].file_name().unwrap(), "00000002-000-000001.log");
    write_anew(&mut logs[0], &Views::new(), &Places::new());
    keeper.pass();
    drop((logs, keeper));
    let loaded = view::load(dir.path(), BOOT);
    assert_eq!((loaded.ending, loaded.warnings), (Ending::Crashed, vec![]));
    assert!(files.iter().all(|file| aside(file).exists()));
}

#[test]
fn a_log_goes_on_behind_all_its_entries() {
    for closes in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (views, mut places) = written(dir.path());
        for run in 2.. {
            let (state, loaded) = view::open(dir.path(), BOOT);
            let ending = if closes && run > 3 { Ending::Clean } else { Ending::Crashed };
            assert_eq!((loaded.log, loaded.next, loaded.ending), (Some(LOG), places.0, ending));
            if run == 5 {
                break;
            }
            let (mut logs, keeper) = view::begin(state, 1);
            // what changes nothing that is kept has a place, too
            let entries = places.entries("a", [published(), Change::Kicked { id: "ann".into() }]);
            logs[0].append(&entries, Instant::now());
            if run > 2 {
                write_anew(&mut logs[0], &views, &places);
                keeper.pass();
            }
            for log in logs {
                if closes {
                    log.close(Instant::now());
                }
            }
        }
    }
}

#[test]
fn two_logs_that_meet_are_no_log_to_go_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (views, _) = written(dir.path());
    let other = LogId(6);
    let (state, loaded) = view::open(dir.path(), BOOT);
    assert_eq!(loaded.ending, Ending::Crashed);
    let (mut logs, keeper) = view::begin_log(state, 1, other);
    // nothing has been said in it yet
    let loaded = view::peek(dir.path());
    assert_eq!((loaded.log, loaded.ending), (Some(LOG), Ending::Crashed));
    let mut next = Places(loaded.next);
    logs[0].append(&[next.entry("a", published())], Instant::now());
    let loaded = view::peek(dir.path());
    assert_eq!((loaded.next, loaded.ending), (next.0, Ending::Incomplete));
    // until what is written in it stands alone
    write_anew(&mut logs[0], &views, &next);
    let loaded = view::peek(dir.path());
    assert_eq!((loaded.log, loaded.next, loaded.ending), (Some(other), next.0, Ending::Crashed));
    keeper.pass();
    drop((logs, keeper));
    let loaded = view::load(dir.path(), BOOT);
    assert_eq!((loaded.log, view::views(&loaded)), (Some(other), views));
}

#[test]
fn what_was_forgotten_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = view::open(dir.path(), BOOT);
    let (mut logs, keeper) = view::begin(state, 1);
    logs[0].append(&Places::new().entries("a", [began(), forgotten(7)]), Instant::now());
    drop((logs, keeper));
    let (state, loaded) = view::open(dir.path(), BOOT);
    assert_eq!((loaded.forgotten, loaded.streams.len()), (7, 0));
    let (mut logs, keeper) = view::begin(state, 1);
    assert!(logs[0].is_in_snapshot(), "it is still to be written, though no stream is");
    logs[0].end_snapshot(7, loaded.next, Instant::now());
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
            state.begin(2, has_history, LOG, &Arc::new(Instruments::new()), Instant::now());
        (loaded.has_history, logs, keeper)
    };
    let (knows, ..) = run(false); // which ends before it has written anything
    assert!(knows, "all runs had one");
    for has_history in [true, false, true] {
        let (knows, mut logs, keeper) = run(has_history);
        assert!(!knows, "one run had none");
        for log in &mut logs {
            log.end_snapshot(0, Position(1), Instant::now());
            log.begin_snapshot(Instant::now()); // a later file says so, too
            log.end_snapshot(0, Position(1), Instant::now());
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
    let taken = StateDir::open(&file, BOOT).unwrap_err();
    assert!(matches!(taken, OpenError::NoDirectory { .. }), "{taken}");
    for dir in [&file.join("below"), Path::new("/proc/broker-state")] {
        let error = StateDir::open(dir, BOOT).unwrap_err();
        assert!(matches!(error, OpenError::Create { .. }), "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains(&*dir.to_string_lossy()) && sentence.contains("create it"));
    }
    let read_only = StateDir::open(Path::new("/proc/self"), BOOT).unwrap_err();
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
    let error = StateDir::open(dir.path(), BOOT).unwrap_err();
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
    assert!(matches!(StateDir::open(dir.path(), BOOT), Err(OpenError::Locked { .. })));
    other.kill().unwrap();
    other.wait().unwrap();
    drop(view::open(dir.path(), BOOT));
}
