//! Full disks and removed directories, while the broker runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::log::Change;
use broker::state::{Ending, Keeper, Log, StateDir};
use broker::telemetry::Instruments;

use super::view::{self, BOOT, LOG, Places, Views, apply, began, dump, published};

/// Set in the process that may mount.
const INSIDE: &str = "BROKER_TEST_MAY_MOUNT";

/// Longer than a log waits for its next attempt.
const LATER: Duration = Duration::from_secs(6);

/// A small disk; unmounted when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(kib: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(dir.path())
            .output()
            .expect("`mount` can't be run: install it");
        assert!(mounted.status.success(), "no tmpfs can be mounted: {mounted:?}");
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Takes the room that is left.
    fn fill(&self) -> PathBuf {
        let filler = self.0.path().join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        let error = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Runs a test where it may mount: here if this is root, else in a user namespace.
fn where_mounting_is_allowed(test: &str, body: impl FnOnce()) {
    let id = Command::new("id").arg("-u").output().unwrap();
    let is_root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    if is_root || std::env::var_os(INSIDE).is_some() {
        body();
        return;
    }
    let inside = Command::new("unshare")
        .arg("-rm")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(INSIDE, "1")
        .output()
        .expect("`unshare` can't be run: install it, or run this test as root");
    assert!(
        inside.status.success(),
        "`{test}` fails inside of `unshare -rm`; if that isn't allowed here, run it as root:\n{}{}",
        String::from_utf8_lossy(&inside.stdout),
        String::from_utf8_lossy(&inside.stderr)
    );
}

struct Sim {
    logs: Vec<Log>,
    keeper: Keeper,
    places: Places,
    told: Views,
    now: Instant,
}

impl Sim {
    fn start(dir: &Path, shards: usize) -> (Self, Ending) {
        let (state, loaded) = view::open(dir, BOOT);
        let told = view::views(&loaded);
        let now = Instant::now();
        let (logs, keeper) = state.begin(shards, true, LOG, &Arc::new(Instruments::new()), now);
        let places = Places(loaded.next);
        (Self { logs, keeper, places, told, now }, loaded.ending)
    }

    fn tell(&mut self, log: usize, stream: &str, change: Change) {
        let entry = self.places.entry(stream, change);
        self.logs[log].append(std::slice::from_ref(&entry), self.now);
        apply(&mut self.told, &entry);
    }

    fn publish(&mut self, log: usize, stream: &str) {
        self.tell(log, stream, published());
    }

    /// Writes all streams of a shard anew, those whose names begin with its letter.
    fn write_anew(&mut self, log: usize, letter: &str) {
        for (stream, view) in &self.told {
            if stream.as_str().starts_with(letter) {
                self.logs[log].append(&dump(stream, view, &self.places), self.now);
            }
        }
        self.logs[log].end_snapshot(0, self.places.0, self.now);
    }
}

fn state_files(dir: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    view::files(dir).into_iter().map(name).collect()
}

#[test]
fn a_full_disk_leaves_nothing_stale_and_heals() {
    where_mounting_is_allowed("failing::a_full_disk_leaves_nothing_stale_and_heals", || {
        let disk = Disk::mount(256);
        let (mut sim, _) = Sim::start(&disk.path(), 2);
        sim.tell(0, "a", began());
        sim.tell(1, "b", began());
        sim.publish(1, "b");
        let filler = disk.fill();
        // what the file system has set aside for the file already is not the end
        while !sim.logs[0].is_failing() {
            sim.publish(0, "a");
            assert!(sim.told[&"a".into()].head < 10_000, "the disk is never full");
        }
        assert_eq!(state_files(&disk.path()), ["00000001-001-000001.log"], "nothing stale");
        sim.publish(0, "a"); // goes on unharmed

        // what a restart would find now: the other shard's, and that something is missing
        let copy = tempfile::tempdir().unwrap();
        for file in state_files(&disk.path()) {
            fs::copy(disk.path().join(&file), copy.path().join(&file)).unwrap();
        }
        let loaded = view::load(copy.path(), BOOT);
        assert_eq!(loaded.ending, Ending::Incomplete);
        assert!(!view::views(&loaded).contains_key(&"a".into()), "{loaded:?}");
        assert!(view::views(&loaded).contains_key(&"b".into()), "{loaded:?}");

        assert!(!sim.logs[0].wants_snapshot(sim.now), "not at once");
        assert!(sim.logs[0].poll_timeout().is_some_and(|due| due <= sim.now + LATER));
        fs::remove_file(filler).unwrap();
        sim.now += LATER;
        assert!(sim.logs[0].wants_snapshot(sim.now));
        sim.logs[0].begin_snapshot(sim.now);
        assert!(!sim.logs[0].is_failing() && sim.logs[0].is_in_snapshot());
        sim.write_anew(0, "a");
        sim.publish(0, "a");
        let told = sim.told.clone();
        drop(sim);
        let loaded = view::load(&disk.path(), BOOT);
        assert_eq!((view::views(&loaded), loaded.ending), (told, Ending::Crashed));
    });
}

#[test]
fn a_disk_that_is_full_at_the_start_is_no_reason_not_to() {
    where_mounting_is_allowed(
        "failing::a_disk_that_is_full_at_the_start_is_no_reason_not_to",
        || {
            let disk = Disk::mount(256);
            let (mut sim, _) = Sim::start(&disk.path(), 1);
            sim.tell(0, "a", began());
            drop(sim);
            let filler = disk.fill();
            let (mut sim, ending) = Sim::start(&disk.path(), 1);
            assert_eq!((ending, sim.told.len()), (Ending::Crashed, 1));
            assert!(sim.logs[0].is_failing());
            assert!(
                state_files(&disk.path()).is_empty(),
                "what it stood on can't be followed either"
            );
            fs::remove_file(filler).unwrap();
            sim.now += LATER;
            sim.logs[0].begin_snapshot(sim.now);
            sim.write_anew(0, "a");
            let told = sim.told.clone();
            drop(sim);
            assert_eq!(view::views(&view::load(&disk.path(), BOOT)), told);
        },
    );
}

#[test]
fn no_room_for_a_new_generation_leaves_the_old_one() {
    where_mounting_is_allowed("failing::no_room_for_a_new_generation_leaves_the_old_one", || {
        let disk = Disk::mount(256);
        let (mut sim, _) = Sim::start(&disk.path(), 1);
        sim.tell(0, "a", began());
        let filler = disk.fill();
        sim.logs[0].begin_snapshot(sim.now);
        assert!(!sim.logs[0].is_failing() && !sim.logs[0].is_in_snapshot());
        sim.publish(0, "a"); // there is room for it in the last page
        assert!(!sim.logs[0].is_failing());
        assert_eq!(state_files(&disk.path()), ["00000001-000-000001.log"]);
        fs::remove_file(filler).unwrap();
        sim.logs[0].begin_snapshot(sim.now);
        sim.write_anew(0, "a");
        sim.keeper.pass();
        assert_eq!(state_files(&disk.path()), ["00000001-000-000003.log"]);
        let told = sim.told.clone();
        drop(sim);
        let loaded = view::load(&disk.path(), BOOT);
        assert_eq!((view::views(&loaded), loaded.ending), (told, Ending::Crashed));
    });
}

#[test]
fn a_directory_that_is_removed_is_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let (mut sim, _) = Sim::start(&dir, 1);
    sim.tell(0, "a", began());
    fs::remove_dir_all(&dir).unwrap();
    sim.publish(0, "a");
    assert!(!sim.logs[0].is_failing(), "the system says nothing of it");
    assert!(!sim.logs[0].wants_snapshot(sim.now));
    sim.keeper.pass();
    assert!(sim.logs[0].wants_snapshot(sim.now), "it was noticed");
    sim.publish(0, "a");
    assert!(sim.logs[0].is_failing());
    sim.now += LATER;
    sim.logs[0].begin_snapshot(sim.now);
    sim.write_anew(0, "a");
    assert!(StateDir::open(&dir, BOOT).is_err(), "it is locked anew, too");
    let told = sim.told.clone();
    drop(sim);
    assert_eq!(view::views(&view::load(&dir, BOOT)), told);
}

#[test]
fn a_run_that_fails_before_it_is_complete_takes_what_it_stands_on() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let (mut sim, _) = Sim::start(&dir, 1);
    for stream in ["a", "b"] {
        sim.tell(0, stream, began());
    }
    drop(sim);
    let (mut sim, _) = Sim::start(&dir, 2);
    sim.publish(0, "a");
    sim.publish(1, "b");
    assert_eq!(state_files(&dir).len(), 3);
    fs::remove_file(dir.join("00000002-000-000001.log")).unwrap();
    sim.keeper.pass();
    assert_eq!(state_files(&dir), ["00000002-001-000001.log"]);
    sim.publish(0, "a");
    let copy = tempfile::tempdir().unwrap();
    let other = "00000002-001-000001.log";
    fs::copy(dir.join(other), copy.path().join(other)).unwrap();
    let loaded = view::load(copy.path(), BOOT);
    assert_eq!((loaded.streams.len(), loaded.ending), (0, Ending::Incomplete));

    // both write all they know, each in its own time
    sim.write_anew(1, "b");
    sim.keeper.pass();
    sim.now += LATER;
    sim.logs[0].begin_snapshot(sim.now);
    sim.write_anew(0, "a");
    sim.keeper.pass();
    let told = sim.told.clone();
    drop(sim);
    let loaded = view::load(&dir, BOOT);
    assert_eq!((view::views(&loaded), loaded.ending), (told, Ending::Crashed));
}

#[test]
fn the_keeper_works_by_itself_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sim, _) = Sim::start(dir.path(), 1);
    sim.tell(0, "a", began());
    sim.logs[0].begin_snapshot(sim.now);
    sim.write_anew(0, "a");
    assert_eq!(state_files(dir.path()).len(), 2);
    let Sim { logs, keeper, .. } = sim;
    let keeping = keeper.every(Duration::from_millis(5)).unwrap();
    let begun = Instant::now();
    while state_files(dir.path()).len() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it removes nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop((keeping, logs));
    drop(view::open(dir.path(), BOOT)); // nothing of it is left
}
