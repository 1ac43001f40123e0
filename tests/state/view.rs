//! The state that entries yield: a naive stand-in for the shards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::log::{Change, Entry, LogId, Origin, Owner, Position, Subscription};
use broker::protocol::action_cable;
use broker::state::{Boot, Keeper, Loaded, Log, OpenError, StateDir};
use broker::telemetry::Instruments;
use broker::types::{
    Epoch, Grant, Identity, JoinCause, Offset, PresenceId, RawJson, Rights, SessionId, StreamName,
    Watch,
};

/// The boot of tests that have one only.
pub(crate) const BOOT: Boot = Boot::from_bits(1);

/// The log of tests that have one only.
pub(crate) const LOG: LogId = LogId(5);

/// Of what has ended, which nothing has here.
const TTL: Duration = Duration::ZERO;

/// What is known of one stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    epoch: Epoch,
    pub(crate) head: u64,
    lost: u64,
    publications: Vec<u64>,
    subscriptions: BTreeMap<(SessionId, String), Option<(PresenceId, RawJson)>>,
    /// The application's.
    put: BTreeMap<PresenceId, (RawJson, Option<u64>)>,
}

/// What is known of all.
pub(crate) type Views = BTreeMap<StreamName, View>;

/// Gives changes their places in a log.
#[derive(Debug)]
pub(crate) struct Places(pub(crate) Position);

impl Places {
    pub(crate) fn new() -> Self {
        Self(Position(1))
    }

    pub(crate) fn entry(&mut self, stream: &str, change: Change) -> Entry {
        let position = self.0;
        self.0 = position.next();
        Entry { position, at: 7, origin: Origin::default(), stream: stream.into(), change }
    }

    pub(crate) fn entries(
        &mut self,
        stream: &str,
        changes: impl IntoIterator<Item = Change>,
    ) -> Vec<Entry> {
        changes.into_iter().map(|change| self.entry(stream, change)).collect()
    }
}

pub(crate) fn subscription(session: u128) -> Subscription {
    Subscription { session: SessionId::from_bits(session), identifier: r#""room""#.into() }
}

pub(crate) fn began() -> Change {
    Change::Began { lost: 0 }
}

pub(crate) fn forgotten(lost: u64) -> Change {
    Change::Forgotten { epoch: LOG.epoch(Position(1)), head: Offset::default(), lost }
}

pub(crate) fn published() -> Change {
    let (data, labels, except, author) = ("1".into(), None, None, None);
    Change::Published { data, labels, at: 7, except, is_kept: true, author }
}

pub(crate) fn joined(session: u128, info: u64) -> [Change; 2] {
    let grant = Grant {
        rights: Rights { join: true, whisper: false },
        identity: Identity { identifier: 9, presence_id: 0 },
    };
    let (codec, watch) = (action_cable::CODEC, Watch::Members);
    let joined = Change::Joined {
        by: subscription(session),
        id: "ann".into(),
        info: info.to_string().into(),
        extra: None,
        cause: JoinCause::Joined,
        is_update: false,
        max_members: usize::MAX,
    };
    [Change::Subscribed { by: subscription(session), codec, watch, grant }, joined]
}

/// Applies an entry to what was known; panics if it makes no sense.
pub(crate) fn apply(views: &mut Views, entry: &Entry) {
    let stream = entry.stream.clone();
    let new = |epoch, head, lost| {
        let (publications, subscriptions, put) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        View { epoch, head, lost, publications, subscriptions, put }
    };
    match &entry.change {
        Change::Began { lost } => {
            let view = new(LOG.epoch(entry.position), 0, *lost);
            assert!(views.insert(stream, view).is_none(), "it had begun");
            return;
        }
        Change::Snapshot { epoch, head, lost, .. } => {
            views.insert(stream, new(epoch.clone(), head.0, *lost));
            return;
        }
        Change::Forgotten { .. } => {
            views.remove(&stream).unwrap();
            return;
        }
        _ => {}
    }
    let view = views.get_mut(&stream).unwrap();
    let key = |by: &Subscription| (by.session, by.identifier.to_string());
    match &entry.change {
        Change::Published { is_kept: true, .. } | Change::Kept { .. } => {
            view.head += 1;
            view.publications.push(view.head);
        }
        Change::Subscribed { by, .. } | Change::Resumable { by, .. } => {
            view.subscriptions.entry(key(by)).or_default();
        }
        Change::Unsubscribed { by } => drop(view.subscriptions.remove(&key(by)).unwrap()),
        Change::Joined { by, id, info, .. } => {
            *view.subscriptions.get_mut(&key(by)).unwrap() = Some((id.clone(), info.clone()));
        }
        Change::Record { owner: Owner::Subscription { by, ended: None }, id, info, .. } => {
            view.subscriptions.insert(key(by), Some((id.clone(), info.clone())));
        }
        Change::Left { by, .. } => {
            view.subscriptions.get_mut(&key(by)).unwrap().take().unwrap();
        }
        Change::Resumed { from, to } => {
            let record = view.subscriptions.remove(&key(from)).unwrap();
            view.subscriptions.insert((*to, from.identifier.to_string()), record);
        }
        Change::Put { id, info, until, .. }
        | Change::Record { owner: Owner::Application { until }, id, info, .. } => {
            view.put.insert(id.clone(), (info.clone(), *until));
        }
        Change::Kicked { id } => drop(view.put.remove(id).unwrap()),
        other => panic!("{other:?} is nothing that these tests do"),
    }
}

pub(crate) fn apply_all(views: &mut Views, entries: &[Entry]) {
    for entry in entries {
        apply(views, entry);
    }
}

fn restored(owner: Owner, (id, info): (PresenceId, &RawJson)) -> Change {
    Change::Record { owner, ttl: TTL, id, info: info.clone(), extra: None, arrived: 0 }
}

/// The entries that yield what is known of a stream, all in the place of the last one of their log.
pub(crate) fn dump(stream: &StreamName, view: &View, places: &Places) -> Vec<Entry> {
    let position = Position(places.0.0 - 1);
    let (epoch, lost, journal) = (view.epoch.clone(), view.lost, Position(1));
    let head = Offset(view.head - view.publications.len() as u64);
    let mut changes = vec![Change::Snapshot { epoch, head, lost, journal }];
    let kept = || Change::Kept { data: "1".into(), labels: None, at: 7 };
    changes.extend(view.publications.iter().map(|_| kept()));
    for ((session, _), record) in &view.subscriptions {
        let by = subscription(session.to_bits());
        if let Some((id, info)) = record {
            let (owner, id) = (Owner::Subscription { by: by.clone(), ended: None }, id.clone());
            changes.push(restored(owner, (id, info)));
        }
        let [subscribed, _] = joined(session.to_bits(), 0);
        let Change::Subscribed { codec, watch, grant, .. } = subscribed else { unreachable!() };
        let (grant, parked, ttl) = (Some(grant), None, TTL);
        changes.push(Change::Resumable { by, codec, watch, grant, parked, ttl });
    }
    for (id, (info, until)) in &view.put {
        let (owner, id) = (Owner::Application { until: *until }, id.clone());
        changes.push(restored(owner, (id, info)));
    }
    let entry = |change| {
        let (stream, origin) = (stream.clone(), Origin::default());
        Entry { position, at: 7, origin, stream, change }
    };
    changes.into_iter().map(entry).collect()
}

pub(crate) fn views(loaded: &Loaded) -> Views {
    let mut views = Views::new();
    for (stream, entries) in &loaded.streams {
        let begins = matches!(
            entries.first(),
            Some(Entry { change: Change::Began { .. } | Change::Snapshot { .. }, .. })
        );
        assert!(begins, "{entries:?}");
        for entry in entries {
            assert_eq!(entry.stream, *stream);
            assert!(entry.position < loaded.next, "{:?} is not behind {entry:?}", loaded.next);
        }
        apply_all(&mut views, entries);
    }
    views
}

pub(crate) fn begin(state: StateDir, shards: usize) -> (Vec<Log>, Keeper) {
    begin_log(state, shards, LOG)
}

pub(crate) fn begin_log(state: StateDir, shards: usize, log: LogId) -> (Vec<Log>, Keeper) {
    state.begin(shards, true, log, &Arc::new(Instruments::new()), Instant::now())
}

/// A directory's logs, in order.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    files_of(dir, &["log"])
}

/// A directory's files of these kinds, in order.
pub(crate) fn files_of(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|it| extensions.iter().any(|extension| it == *extension))
    };
    let mut files: Vec<PathBuf> = paths.filter(is_one).collect();
    files.sort();
    files
}

/// Opens a directory. A process that another test starts has this one's files too, locks included,
/// for the moment between its fork and its exec: so it is tried again.
pub(crate) fn open(dir: &Path, boot: Boot) -> (StateDir, Loaded) {
    let begun = Instant::now();
    loop {
        match StateDir::open(dir, boot) {
            Ok(opened) => return opened,
            Err(OpenError::Locked { .. }) if begun.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Loads what is in a directory, and leaves it alone otherwise.
pub(crate) fn load(dir: &Path, boot: Boot) -> Loaded {
    open(dir, boot).1
}

/// A copy of what a broker that goes on has written so far.
pub(crate) fn copy(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in files_of(dir, &["log", "mark"]) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    copy
}

/// Loads what a broker that goes on has written so far.
pub(crate) fn peek(dir: &Path) -> Loaded {
    load(copy(dir).path(), BOOT)
}
