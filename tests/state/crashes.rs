//! The process or the machine crashes at any moment, and all committed entries are loaded.
//!
//! A stand-in for a broker does random things. After each, the files are compared with those before,
//! and every state that lies between the two is loaded in a directory of its own: files that came one
//! after the other, writes cut anywhere, some of the old files removed. For a power loss, whatever has
//! not been synced may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use broker::log::{Change, Entry, LogId, Owner, Position};
use broker::state::{Boot, Ending, Keeper, Loaded, Log};
use broker::types::{SessionId, StreamName};
use proptest::prelude::*;
use tempfile::TempDir;

use super::view::{
    self, Places, Views, apply_all, dump, forgotten, joined, published, subscription,
};

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
    log: LogId,
    /// Where each shard's log goes on.
    places: Vec<Places>,
    told: Views,
    begun: u64,
    /// What each shard's snapshot has yet to write.
    snapshots: Vec<Option<BTreeSet<StreamName>>>,
    /// Whether each shard's log stands without those of earlier runs.
    complete: Vec<bool>,
    /// Whether what was loaded was incomplete.
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
            log: view::LOG,
            places: vec![Places::new(), Places::new()],
            told: Views::new(),
            begun: 0,
            snapshots: vec![None; 2],
            complete: vec![true; 2],
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
    fn tell(&mut self, stream: &StreamName, changes: impl IntoIterator<Item = Change>) {
        let shard = self.shard_of(stream);
        let entries = self.places[shard].entries(stream.as_str(), changes);
        self.logs[shard].append(&entries, Instant::now());
        apply_all(&mut self.told, &entries);
    }

    /// Whether the files that say that something is missing still count.
    fn is_tainted(&self) -> bool {
        self.tainted && !self.complete.iter().all(|complete| *complete)
    }

    fn step(&mut self, step: &Step) {
        let before = Before::of(self);
        let name = |n: u8| StreamName::from(["a", "b", "c", "d"][usize::from(n % 4)]);
        match *step {
            Step::Publish(stream) => {
                let stream = name(stream);
                let changes = self.begun(&stream).into_iter().chain([published()]);
                self.tell(&stream, changes);
            }
            Step::Join(stream, session) => {
                let stream = name(stream);
                let info = self.image.values().map(|bytes| bytes.len() as u64).sum();
                let changes = self.begun(&stream).into_iter().chain(joined(session.into(), info));
                self.tell(&stream, changes);
            }
            Step::Leave(stream, session) => {
                let (stream, by) = (name(stream), subscription(session.into()));
                if self.is_present(&stream, by.session) {
                    let left = Change::Left { by: by.clone(), id: None };
                    self.tell(&stream, [left, Change::Unsubscribed { by }]);
                }
            }
            Step::Resume(stream, from, to) => {
                let (stream, from) = (name(stream), subscription(from.into()));
                let to = SessionId::from_bits(to.into());
                if self.is_present(&stream, from.session) && from.session != to {
                    self.tell(&stream, [Change::Resumed { from, to }]);
                }
            }
            Step::Forget(stream) => {
                let stream = name(stream);
                if self.told.contains_key(&stream) {
                    self.tell(&stream, [forgotten(5)]);
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

    fn begun(&mut self, stream: &StreamName) -> Option<Change> {
        self.begun += 1; // so that no two are alike
        (!self.told.contains_key(stream)).then_some(Change::Began { lost: self.begun })
    }

    fn is_present(&self, stream: &StreamName, session: SessionId) -> bool {
        let is_theirs = |entry: &Entry| match &entry.change {
            Change::Record { owner: Owner::Subscription { by, .. }, .. } => by.session == session,
            _ => false,
        };
        let view = self.told.get(stream);
        view.is_some_and(|view| dump(stream, view, &Places::new()).iter().any(is_theirs))
    }

    fn streams_of(&self, shard: usize) -> BTreeSet<StreamName> {
        self.told.keys().filter(|stream| self.shard_of(stream) == shard).cloned().collect()
    }

    fn go_on(&mut self, shard: usize) {
        let Some(left) = &mut self.snapshots[shard] else { return };
        if let Some(stream) = left.pop_first() {
            if let Some(view) = self.told.get(&stream) {
                let entries = dump(&stream, view, &self.places[shard]);
                self.logs[shard].append(&entries, Instant::now());
            }
        } else {
            self.logs[shard].end_snapshot(5, self.places[shard].0, Instant::now());
            self.snapshots[shard] = None;
            self.complete[shard] = true;
        }
        assert_eq!(self.logs[shard].is_in_snapshot(), self.snapshots[shard].is_some());
    }

    /// A crash anywhere since the step before leaves what was known before it or after it.
    fn check(&mut self, before: &Before) {
        let image = image(self.dir.path());
        let elsewhere = tempfile::tempdir().unwrap();
        for cut in between(&self.image, &image) {
            write(elsewhere.path(), &cut);
            let loaded = view::load(elsewhere.path(), Boot::from_bits(self.boot));
            let found = view::views(&loaded);
            assert!(
                found == before.told || found == self.told,
                "{found:?}\n{:?}\n{:?}",
                before.told,
                self.told
            );
            assert!(before.tainted || loaded.ending <= Ending::Crashed, "{:?}", loaded.warnings);
            if loaded.ending <= Ending::Crashed {
                self.check_log(&loaded, before.told.keys().len(), &before.places);
            }
            assert_eq!(self::image(elsewhere.path()), cut, "files of its own are left as they are");
        }
        self.image = image;
    }

    /// The log continues after all committed entries; or, if nothing of it is left, another one
    /// may begin.
    fn check_log(&self, loaded: &Loaded, streams: usize, places: &[Position]) {
        match loaded.log {
            Some(log) => {
                assert_eq!(log, self.log);
                let behind = places.iter().all(|place| *place <= loaded.next);
                assert!(behind, "{:?} is not behind all of {places:?}", loaded.next);
            }
            None => assert_eq!(streams, 0, "they are of a log"),
        }
    }

    /// What may be left by a power loss: anything from what was synced to what was written.
    fn after_power_loss(&self, mut random: u64) -> Image {
        let mut next = |max: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % (max + 1)
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
                let worst = if how == How::Stop && !self.is_tainted() && self.all_complete() {
                    Ending::Clean
                } else {
                    Ending::Crashed
                };
                let is_incomplete = loaded.ending == Ending::Incomplete;
                assert_eq!(is_incomplete, self.is_tainted(), "{:?}", loaded.warnings);
                if !is_incomplete {
                    assert!(loaded.ending <= worst, "{:?}", loaded.ending);
                    self.check_log(&loaded, self.told.len(), &self.next_places());
                }
            }
            How::PowerLoss(_) => self.check_power_loss(&found, &loaded),
        }
        self.told = found;
        self.tainted = loaded.ending == Ending::Incomplete;
        // as the broker does
        let log = loaded.log.filter(|_| !self.tainted);
        self.log = log.unwrap_or(LogId(self.log.0 + 1));
        self.places = (0..shards).map(|_| Places(loaded.next)).collect();
        (self.logs, self.keeper) = view::begin_log(state, shards, self.log);
        let image = image(self.dir.path());
        self.snapshots = (0..shards)
            .map(|shard| self.logs[shard].is_in_snapshot().then(|| self.streams_of(shard)))
            .collect();
        self.complete = self.snapshots.iter().map(Option::is_none).collect();
        (self.image, self.durable) = (image.clone(), image);
        self.since = vec![self.told.clone()];
        let now = Before::of(self);
        self.check(&now);
    }

    fn next_places(&self) -> Vec<Position> {
        self.places.iter().map(|places| places.0).collect()
    }

    fn all_complete(&self) -> bool {
        self.snapshots.iter().all(Option::is_none)
    }

    /// Each stream is as it was at some moment since the last sync; if that isn't the last one, it is
    /// said that something is missing.
    fn check_power_loss(&self, found: &Views, loaded: &Loaded) {
        let streams: BTreeSet<&StreamName> =
            found.keys().chain(self.since.iter().flat_map(Views::keys)).collect();
        for stream in streams {
            let was = |views: &Views| views.get(stream) == found.get(stream);
            assert!(self.since.iter().any(was), "{stream}: {:?} never was", found.get(stream));
        }
        if loaded.ending != Ending::Incomplete {
            assert_eq!(*found, self.told, "something is missing");
            self.check_log(loaded, self.told.len(), &self.next_places());
        }
    }
}

/// What was known before a step.
struct Before {
    told: Views,
    places: Vec<Position>,
    tainted: bool,
}

impl Before {
    fn of(sim: &Sim) -> Self {
        let (told, places) = (sim.told.clone(), sim.next_places());
        Self { told, places, tainted: sim.is_tainted() }
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

#[test]
fn a_log_goes_on_behind_streams_that_a_snapshot_leaves_out() {
    let mut sim = Sim::new();
    for step in [
        Step::Publish(0), // known by the other shard, whose log isn't as long
        Step::Publish(B),
        Step::Publish(B),
        Step::Forget(B),
        Step::BeginSnapshot(THEIRS),
        Step::GoOn(THEIRS), // there is nothing to write
        Step::Pass,
        Step::Restart { shards: 1, how: How::Crash },
        Step::Publish(B),
    ] {
        sim.step(&step);
    }
}

#[test]
fn an_end_that_is_lost_is_noticed_where_all_was_forgotten() {
    let mut sim = Sim::new();
    for step in [
        Step::Publish(1),
        Step::Restart { shards: 1, how: How::Stop },
        Step::Restart { shards: 2, how: How::Stop },
        Step::Publish(3),
        Step::Forget(3),
        Step::GoOn(1),
        Step::BeginSnapshot(1),
        Step::GoOn(1),
    ] {
        sim.step(&step);
    }
    lose_ends(&sim, 1_360_328_233_241_111_704);
}

/// Cuts each file anywhere, or overwrites its end with zeros: either all committed entries are loaded, or
/// the state is reported as incomplete.
fn lose_ends(sim: &Sim, mut random: u64) {
    let mut next = |max: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % (max + 1)
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
                sim.check_log(&loaded, sim.told.len(), &sim.next_places());
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
