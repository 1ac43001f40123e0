//! The process or the machine ends at any moment, and what is loaded is what anyone was told.
//!
//! A stand-in for a broker does random things. After each, the files are compared with those before,
//! and every state that lies between the two is loaded in a directory of its own: files that came one
//! after the other, writes cut anywhere, some of the old files removed. For a power loss, whatever has
//! not been synced may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use broker::log::Change;
use broker::state::{Boot, Ending, Keeper, Log};
use broker::types::{SessionId, StreamName};
use proptest::prelude::*;
use tempfile::TempDir;

use super::view::{self, Views, apply_all, dump, identifier, joined, published};

/// A directory's logs and marks. By name, each log comes before its mark, as it is written.
type Image = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Join(u8, u8),
    Leave(u8, u8),
    Resume(u8, u8, u8),
    Forget(u8),
    BeginSnapshot(u8),
    /// A stream of the snapshot under way, or its end.
    GoOn(u8),
    /// What the keeper does in the background.
    Pass,
    Restart {
        shards: u8,
        how: How,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Stop,
    Crash,
    PowerLoss(u64),
}

struct Sim {
    dir: TempDir,
    boot: u128,
    logs: Vec<Log>,
    keeper: Keeper,
    told: Views,
    epochs: u64,
    /// What each shard's snapshot has yet to write.
    snapshots: Vec<Option<BTreeSet<StreamName>>>,
    /// Whether what was loaded was incomplete, and the files that say so still count.
    tainted: bool,
    image: Image,
    durable: Image,
    /// What was known at each step since the last sync.
    since: Vec<Views>,
}

fn image(dir: &Path) -> Image {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    view::files_of(dir, &["log", "mark"])
        .iter()
        .map(|path| (name(path), fs::read(path).unwrap()))
        .collect()
}

fn write(dir: &Path, image: &Image) {
    let there = self::image(dir);
    for name in there.keys().filter(|name| !image.contains_key(*name)) {
        fs::remove_file(dir.join(name)).unwrap();
    }
    for (name, bytes) in image.iter().filter(|(name, bytes)| there.get(*name) != Some(*bytes)) {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn is_mark(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "mark")
}

/// Every state on the way from one to the other, the two included.
fn between(before: &Image, after: &Image) -> Vec<Image> {
    let mut images = vec![before.clone()];
    let mut now = before.clone();
    for (name, bytes) in after {
        if is_mark(name) {
            now.insert(name.clone(), bytes.clone());
            images.push(now.clone());
            continue;
        }
        let start = before.get(name).map_or(0, Vec::len);
        assert!(before.get(name).is_none_or(|old| bytes.starts_with(old)), "{name} was rewritten");
        if before.contains_key(name) && start == bytes.len() {
            continue;
        }
        for cut in [start, start + 1, usize::midpoint(start, bytes.len()), bytes.len() - 1] {
            now.insert(name.clone(), bytes[..cut].to_vec());
            images.push(now.clone());
        }
        now.insert(name.clone(), bytes.clone());
        images.push(now.clone());
    }
    let removed: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    for some in 0..1_u32 << removed.len().min(6) {
        let gone = |at: &usize| some & (1 << at) != 0;
        let mut now = now.clone();
        for (_, name) in removed.iter().enumerate().filter(|(at, _)| gone(at)) {
            now.remove(*name);
        }
        images.push(now);
    }
    images.push(after.clone());
    images
}

impl Sim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (state, loaded) = view::open(dir.path(), Boot::from_bits(1));
        assert_eq!(loaded.ending, Ending::Clean);
        let (logs, keeper) = view::begin(state, 2);
        let image = image(dir.path());
        Self {
            dir,
            boot: 1,
            logs,
            keeper,
            told: Views::new(),
            epochs: 0,
            snapshots: vec![None; 2],
            tainted: false,
            durable: image.clone(),
            image,
            since: vec![Views::new()],
        }
    }

    fn shard_of(&self, stream: &StreamName) -> usize {
        usize::from(stream.as_str().as_bytes()[0]) % self.logs.len()
    }

    /// Writes and then knows.
    fn tell(&mut self, stream: &StreamName, changes: &[Change]) {
        let shard = self.shard_of(stream);
        self.logs[shard].append(changes, Instant::now());
        apply_all(&mut self.told, changes);
    }

    fn step(&mut self, step: &Step) {
        let before = self.told.clone();
        let name = |n: u8| StreamName::from(["a", "b", "c", "d"][usize::from(n % 4)]);
        match *step {
            Step::Publish(stream) => {
                let stream = name(stream);
                let mut changes = self.begun(&stream);
                let mut views = self.told.clone();
                apply_all(&mut views, &changes);
                changes.push(published(&stream, &views[&stream]));
                self.tell(&stream, &changes);
            }
            Step::Join(stream, session) => {
                let stream = name(stream);
                let mut changes = self.begun(&stream);
                let info = self.image.values().map(|bytes| bytes.len() as u64).sum();
                changes.extend(joined(&stream, session.into(), info));
                self.tell(&stream, &changes);
            }
            Step::Leave(stream, session) => {
                let (stream, session) = (name(stream), SessionId::from_bits(session.into()));
                if self.is_present(&stream, session) {
                    let (stream, identifier) = (stream.clone(), identifier());
                    let left = Change::Left { stream, session, identifier };
                    let (stream, identifier) = (left.stream().clone(), view::identifier());
                    let gone = Change::Unsubscribed { stream, session, identifier };
                    self.tell(&gone.stream().clone(), &[left, gone]);
                }
            }
            Step::Resume(stream, from, to) => {
                let stream = name(stream);
                let [from, to] = [from, to].map(|bits| SessionId::from_bits(bits.into()));
                if self.is_present(&stream, from) && from != to {
                    let (stream, identifier) = (stream.clone(), identifier());
                    let resumed = Change::Resumed { stream, identifier, from, to };
                    self.tell(&resumed.stream().clone(), &[resumed]);
                }
            }
            Step::Forget(stream) => {
                let stream = name(stream);
                if self.told.contains_key(&stream) {
                    self.tell(&stream, &[Change::Forgotten { stream: stream.clone(), lost: 5 }]);
                }
            }
            Step::BeginSnapshot(shard) => {
                let shard = usize::from(shard) % self.logs.len();
                if !self.logs[shard].is_in_snapshot() {
                    self.logs[shard].begin_snapshot(Instant::now());
                    self.snapshots[shard] = Some(self.streams_of(shard));
                }
            }
            Step::GoOn(shard) => self.go_on(usize::from(shard) % self.logs.len()),
            Step::Pass => self.keeper.pass(),
            Step::Restart { shards, how } => {
                self.restart(usize::from(shards % 3) + 1, how);
                return;
            }
        }
        self.check(&before);
        self.since.push(self.told.clone());
        if matches!(step, Step::Pass) {
            self.durable = self.image.clone();
            self.since = vec![self.told.clone()];
        }
    }

    fn begun(&mut self, stream: &StreamName) -> Vec<Change> {
        if self.told.contains_key(stream) {
            return Vec::new();
        }
        self.epochs += 1;
        vec![view::began(stream.as_str(), &format!("e{}", self.epochs))]
    }

    fn is_present(&self, stream: &StreamName, session: SessionId) -> bool {
        let view = self.told.get(stream);
        view.is_some_and(|view| {
            dump(stream, view)
                .iter()
                .any(|c| matches!(c, Change::Joined { session: s, .. } if *s == session))
        })
    }

    fn streams_of(&self, shard: usize) -> BTreeSet<StreamName> {
        self.told.keys().filter(|stream| self.shard_of(stream) == shard).cloned().collect()
    }

    fn go_on(&mut self, shard: usize) {
        let Some(left) = &mut self.snapshots[shard] else { return };
        if let Some(stream) = left.pop_first() {
            if let Some(view) = self.told.get(&stream) {
                self.logs[shard].append(&dump(&stream, view), Instant::now());
            }
        } else {
            self.logs[shard].end_snapshot(5, Instant::now());
            self.snapshots[shard] = None;
        }
        assert_eq!(self.logs[shard].is_in_snapshot(), self.snapshots[shard].is_some());
    }

    /// A crash anywhere since the step before leaves what was known before it or after it.
    fn check(&mut self, before: &Views) {
        let image = image(self.dir.path());
        let elsewhere = tempfile::tempdir().unwrap();
        for cut in between(&self.image, &image) {
            write(elsewhere.path(), &cut);
            let loaded = view::load(elsewhere.path(), Boot::from_bits(self.boot));
            let found = view::views(&loaded);
            assert!(
                found == *before || found == self.told,
                "{found:?}\n{before:?}\n{:?}",
                self.told
            );
            assert!(self.tainted || loaded.ending <= Ending::Crashed, "{:?}", loaded.warnings);
            assert_eq!(self::image(elsewhere.path()), cut, "files of its own are left as they are");
        }
        self.image = image;
    }

    /// What may be left by a power loss: anything from what was synced to what was written.
    fn after_power_loss(&self, mut random: u64) -> Image {
        let mut next = |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % (most + 1)
        };
        let mut left = Image::new();
        for (name, bytes) in &self.image {
            let synced = self.durable.get(name).map(Vec::len);
            if synced.is_none() && next(2) == 0 {
                continue; // not even the name
            }
            let least = synced.unwrap_or(0);
            let kept = least + next(bytes.len() - least);
            let mut kept = bytes[..kept].to_vec();
            if next(2) == 0 {
                kept.resize(bytes.len(), 0); // the length, but not what was there
            }
            left.insert(name.clone(), kept);
        }
        for (name, bytes) in &self.durable {
            if is_mark(name) && next(1) == 0 {
                left.insert(name.clone(), bytes.clone()); // nothing of it is synced
            }
            if !self.image.contains_key(name) && next(1) == 0 {
                left.insert(name.clone(), bytes.clone()); // its removal was not synced
            }
        }
        left
    }

    fn restart(&mut self, shards: usize, how: How) {
        let logs = std::mem::take(&mut self.logs);
        match how {
            How::Stop => {
                for log in logs {
                    log.close(Instant::now());
                }
            }
            How::Crash | How::PowerLoss(_) => drop(logs),
        }
        if let How::PowerLoss(random) = how {
            let left = self.after_power_loss(random);
            write(self.dir.path(), &left);
            self.boot += 1;
        }
        // one directory, one process: the old one has to go before it is opened again
        let nowhere = tempfile::tempdir().unwrap();
        let (idle, _) = view::open(nowhere.path(), view::BOOT);
        self.keeper = view::begin(idle, 1).1;
        let (state, loaded) = view::open(self.dir.path(), Boot::from_bits(self.boot));
        let found = view::views(&loaded);
        match how {
            How::Stop | How::Crash => {
                assert_eq!(found, self.told);
                let worst = if how == How::Stop && !self.tainted && self.all_complete() {
                    Ending::Clean
                } else {
                    Ending::Crashed
                };
                assert!(self.tainted || loaded.ending <= worst, "{:?}", loaded.ending);
            }
            How::PowerLoss(_) => self.check_power_loss(&found, loaded.ending),
        }
        self.told = found;
        self.tainted = loaded.ending == Ending::Incomplete;
        (self.logs, self.keeper) = view::begin(state, shards);
        let image = image(self.dir.path());
        self.snapshots = (0..shards)
            .map(|shard| self.logs[shard].is_in_snapshot().then(|| self.streams_of(shard)))
            .collect();
        (self.image, self.durable) = (image.clone(), image);
        self.since = vec![self.told.clone()];
        self.check(&self.told.clone());
    }

    fn all_complete(&self) -> bool {
        self.snapshots.iter().all(Option::is_none)
    }

    /// Each stream is as it was at some moment since the last sync; if that isn't the last one, it is
    /// said that something is missing.
    fn check_power_loss(&self, found: &Views, ending: Ending) {
        let streams: BTreeSet<&StreamName> =
            found.keys().chain(self.since.iter().flat_map(Views::keys)).collect();
        for stream in streams {
            let was = |views: &Views| views.get(stream) == found.get(stream);
            assert!(self.since.iter().any(was), "{stream}: {:?} never was", found.get(stream));
        }
        assert!(*found == self.told || ending == Ending::Incomplete, "something is missing");
    }
}

/// The streams' places among the steps' names, and the shard of two that looks after both.
const B: u8 = 1;
const D: u8 = 3;
const THEIRS: u8 = 0;

#[test]
fn a_stream_forgotten_while_a_run_is_incomplete_stays_forgotten() {
    let mut sim = Sim::new();
    let (shards, how) = (1, How::Crash);
    for step in [
        Step::Publish(0),
        Step::Publish(B),
        Step::Pass,
        Step::Restart { shards, how },
        Step::Publish(B),
        Step::Forget(B), // known by the run before, and to be forgotten by the first generation alone
        Step::GoOn(THEIRS),
        Step::GoOn(THEIRS),
        Step::BeginSnapshot(THEIRS),
        Step::GoOn(THEIRS),
        Step::Pass,
        Step::Publish(D),
        Step::Restart { shards, how },
        Step::Publish(B),
    ] {
        sim.step(&step);
    }
}

#[test]
fn a_power_loss_leaves_no_gap_between_generations() {
    for random in 0..60 {
        let mut sim = Sim::new();
        for step in [
            Step::Publish(B),
            Step::Join(B, 1),
            Step::Pass,
            Step::Publish(B),
            Step::Publish(D),
            Step::Publish(B),
            Step::BeginSnapshot(THEIRS),
            Step::Publish(B),
            Step::Publish(D),
            Step::Restart { shards: 1, how: How::PowerLoss(random) },
        ] {
            sim.step(&step);
        }
    }
}

/// Cuts each file anywhere, or puts zeros in the place of its end: what is there still is what was told,
/// or it is said that something is missing.
fn lose_ends(sim: &Sim, mut random: u64) {
    let mut next = |most: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % (most + 1)
    };
    let elsewhere = tempfile::tempdir().unwrap();
    for (name, bytes) in &sim.image {
        for _ in 0..4 {
            let mut image = sim.image.clone();
            let left = bytes[..next(bytes.len())].to_vec();
            match next(2) {
                0 if left.is_empty() => drop(image.remove(name)),
                0 | 1 => drop(image.insert(name.clone(), left)),
                _ => {
                    let mut zeroed = left;
                    zeroed.resize(bytes.len(), 0);
                    image.insert(name.clone(), zeroed);
                }
            }
            write(elsewhere.path(), &image);
            let loaded = view::load(elsewhere.path(), Boot::from_bits(sim.boot));
            if loaded.ending != Ending::Incomplete {
                assert_eq!(view::views(&loaded), sim.told, "{name} lost something");
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![Just(How::Stop), Just(How::Crash), any::<u64>().prop_map(How::PowerLoss)];
    prop_oneof![
        4 => (0..4u8).prop_map(Step::Publish),
        3 => (0..4u8, 0..3u8).prop_map(|(stream, session)| Step::Join(stream, session)),
        2 => (0..4u8, 0..3u8).prop_map(|(stream, session)| Step::Leave(stream, session)),
        1 => (0..4u8, 0..3u8, 0..3u8).prop_map(|(s, from, to)| Step::Resume(s, from, to)),
        2 => (0..4u8).prop_map(Step::Forget),
        2 => (0..3u8).prop_map(Step::BeginSnapshot),
        7 => (0..3u8).prop_map(Step::GoOn),
        3 => Just(Step::Pass),
        2 => (0..3u8, how).prop_map(|(shards, how)| Step::Restart { shards, how }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_was_told_is_there_again(steps in prop::collection::vec(step(), 1..50)) {
        let mut sim = Sim::new();
        for step in &steps {
            sim.step(step);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn an_end_that_is_lost_is_noticed(
        steps in prop::collection::vec(step(), 1..30),
        random in any::<u64>(),
    ) {
        let mut sim = Sim::new();
        for step in &steps {
            sim.step(step);
        }
        lose_ends(&sim, random);
    }
}
