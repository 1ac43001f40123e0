//! What changes yield: a naive stand-in for the shards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::log::Change;
use broker::protocol::action_cable;
use broker::state::{Boot, Keeper, Loaded, Log, OpenError, State};
use broker::telemetry::Instruments;
use broker::types::{
    Epoch, Grant, Identifier, Identity, Offset, Position, PresenceId, Publication, RawJson, Rights,
    SessionId, StreamName, Watch,
};

/// The boot of tests that have one only.
pub(crate) const BOOT: Boot = Boot::from_bits(1);

/// What is known of one stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    epoch: Epoch,
    pub(crate) head: u64,
    lost: u64,
    publications: Vec<u64>,
    subscriptions: BTreeMap<(SessionId, Identifier), Option<(PresenceId, RawJson)>>,
    /// The application's.
    put: BTreeMap<PresenceId, (RawJson, Option<u64>)>,
}

/// What is known of all.
pub(crate) type Views = BTreeMap<StreamName, View>;

pub(crate) fn identifier() -> Identifier {
    r#""room""#.into()
}

pub(crate) fn began(stream: &str, epoch: &str) -> Change {
    let (stream, epoch) = (stream.into(), epoch.into());
    Change::Began { stream, epoch, head: Offset(0), lost: 0 }
}

pub(crate) fn published(stream: &StreamName, view: &View) -> Change {
    let position = Position { epoch: view.epoch.clone(), offset: Offset(view.head + 1) };
    let (stream, data) = (stream.clone(), RawJson::from(view.head.to_string()));
    Change::Published(
        Publication { stream, data, labels: None, at: 7, position: Some(position) }.into(),
    )
}

pub(crate) fn joined(stream: &StreamName, session: u128, info: u64) -> [Change; 2] {
    let session = SessionId::from_bits(session);
    let grant = Grant {
        rights: Rights { join: true, whisper: false },
        identity: Identity { identifier: 9, presence_id: 0 },
    };
    let (codec, stream) = (action_cable::CODEC, stream.clone());
    let subscribed = Change::Subscribed {
        stream: stream.clone(),
        session,
        codec,
        watch: Watch::Members,
        identifier: identifier(),
        grant,
    };
    let (id, info) = ("ann".into(), info.to_string().into());
    [
        subscribed,
        Change::Joined { stream, session, identifier: identifier(), id, info, extra: None },
    ]
}

/// Applies a change to what was known; panics if it makes no sense.
pub(crate) fn apply(views: &mut Views, change: &Change) {
    let stream = change.stream().clone();
    match change {
        Change::Began { epoch, head, lost, .. } => {
            let (publications, subscriptions) = (Vec::new(), BTreeMap::new());
            let (epoch, head, lost) = (epoch.clone(), head.0, *lost);
            let put = BTreeMap::new();
            views.insert(stream, View { epoch, head, lost, publications, subscriptions, put });
            return;
        }
        Change::Forgotten { .. } => {
            views.remove(&stream).unwrap();
            return;
        }
        _ => {}
    }
    let view = views.get_mut(&stream).unwrap();
    match change {
        Change::Published(publication) => {
            let position = publication.position.as_ref().unwrap();
            assert_eq!(position.epoch, view.epoch);
            if position.offset.0 > view.head {
                assert_eq!(position.offset.0, view.head + 1, "a gap");
                view.head += 1;
            }
            view.publications.push(position.offset.0);
        }
        Change::Subscribed { session, identifier, .. } => {
            view.subscriptions.entry((*session, identifier.clone())).or_default();
        }
        Change::Unsubscribed { session, identifier, .. } => {
            view.subscriptions.remove(&(*session, identifier.clone())).unwrap();
        }
        Change::Joined { session, identifier, id, info, .. } => {
            let record = view.subscriptions.get_mut(&(*session, identifier.clone())).unwrap();
            *record = Some((id.clone(), info.clone()));
        }
        Change::Left { session, identifier, .. } => {
            let record = view.subscriptions.get_mut(&(*session, identifier.clone())).unwrap();
            record.take().unwrap();
        }
        Change::Resumed { identifier, from, to, .. } => {
            let record = view.subscriptions.remove(&(*from, identifier.clone())).unwrap();
            view.subscriptions.insert((*to, identifier.clone()), record);
        }
        Change::Put { id, info, until, .. } => {
            view.put.insert(id.clone(), (info.clone(), *until));
        }
        Change::Withdrawn { id, .. } => drop(view.put.remove(id).unwrap()),
        Change::Gone { .. } | Change::JournalTruncated { .. } => {}
        Change::Began { .. } | Change::Forgotten { .. } => unreachable!(),
    }
}

pub(crate) fn apply_all(views: &mut Views, changes: &[Change]) {
    for change in changes {
        apply(views, change);
    }
}

/// The changes that yield what is known of a stream.
pub(crate) fn dump(stream: &StreamName, view: &View) -> Vec<Change> {
    let (epoch, head) = (view.epoch.clone(), Offset(view.head));
    let mut changes = vec![Change::Began { stream: stream.clone(), epoch, head, lost: view.lost }];
    for offset in &view.publications {
        let position = Position { epoch: view.epoch.clone(), offset: Offset(*offset) };
        let (stream, data) = (stream.clone(), "null".into());
        let publication =
            Publication { stream, data, labels: None, at: 7, position: Some(position) };
        changes.push(Change::Published(publication.into()));
    }
    for ((session, identifier), record) in &view.subscriptions {
        let [subscribed, _] = joined(stream, session.to_bits(), 0);
        changes.push(subscribed);
        if let Some((id, info)) = record {
            let (id, info) = (id.clone(), info.clone());
            let (stream, identifier) = (stream.clone(), identifier.clone());
            changes.push(Change::Joined {
                stream,
                session: *session,
                identifier,
                id,
                info,
                extra: None,
            });
        }
    }
    for (id, (info, until)) in &view.put {
        let (stream, id, info) = (stream.clone(), id.clone(), info.clone());
        changes.push(Change::Put { stream, id, info, extra: None, until: *until });
    }
    changes
}

pub(crate) fn views(loaded: &Loaded) -> Views {
    let mut views = Views::new();
    for (stream, changes) in &loaded.streams {
        assert!(matches!(changes.first(), Some(Change::Began { .. })), "{changes:?}");
        assert!(changes.iter().all(|change| change.stream() == stream), "{changes:?}");
        apply_all(&mut views, changes);
    }
    views
}

pub(crate) fn begin(state: State, shards: usize) -> (Vec<Log>, Keeper) {
    state.begin(shards, true, &Arc::new(Instruments::new()), Instant::now())
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
pub(crate) fn open(dir: &Path, boot: Boot) -> (State, Loaded) {
    let begun = Instant::now();
    loop {
        match State::open(dir, boot) {
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
