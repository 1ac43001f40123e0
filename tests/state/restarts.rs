//! A broker restores its state, publishes, and ends before its snapshot is complete.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::Change;
use broker::node::Startup;
use broker::shard::{HistorySettings, ResumeSettings, Settings};
use broker::state::Ending;
use broker::telemetry::Instruments;
use broker::types::{PresenceId, StreamName};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::shard_settings::without_history;
use super::view::{self, BOOT, LOG, Places, began, joined};

const MINUTE: Duration = Duration::from_secs(60);

const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: MINUTE, max_unacked: MINUTE },
    history: HistorySettings { limit: 3, ttl: MINUTE, max_bytes: usize::MAX },
    log: LOG,
    ..without_history(MINUTE)
};

/// More than a shard writes anew in one turn.
const RECORDS: usize = 1100;

/// What the broker starts with, as it does.
fn start(dir: &Path, clock: &Clock) -> (Startup, Ending) {
    start_without(dir, &[], clock)
}

/// The same, where some ids are reserved.
fn start_without(dir: &Path, reserved: &[&str], clock: &Clock) -> (Startup, Ending) {
    let (state, loaded) = view::open(dir, BOOT);
    let ending = loaded.ending;
    let (logs, _) = view::begin(state, 1);
    let is_reserved = |id: &PresenceId| reserved.contains(&id.as_str());
    let times = (clock.unix(), clock.now());
    (Startup::restored(SETTINGS, loaded, is_reserved, logs, times), ending)
}

#[tokio::test]
async fn what_was_said_since_a_restart_that_is_not_yet_written_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = view::open(dir.path(), BOOT);
    let (mut logs, _) = view::begin(state, 1);
    let mut places = Places::new();
    for stream in 0..4 {
        let put = |id: usize| Change::Put {
            id: id.to_string().into(),
            info: "1".into(),
            extra: None,
            until: None,
            max_members: usize::MAX,
        };
        let changes = [began()].into_iter().chain((0..RECORDS).map(put));
        let entries = places.entries(&format!("large-{stream}"), changes);
        logs[0].append(&entries, Instant::now());
    }
    let session = [began()].into_iter().chain(joined(1, 2));
    logs[0].append(&places.entries("last", session), Instant::now());
    drop(logs);

    let clock = Clock::new();
    let (mut startup, ending) = start(dir.path(), &clock);
    assert_eq!((ending, startup.sessions.len()), (Ending::Crashed, 1));
    let session = startup.sessions.remove(0);
    let (tasks, stop, failed) =
        (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let router = startup.start(&clock, &Arc::new(Instruments::new()), &tasks, &stop, &failed);
    assert!(router.forget(&session).is_empty());
    router.sync_all().await.unwrap();
    // that is kept, though the stream isn't written yet
    let loaded = view::peek(dir.path());
    let last = &loaded.streams[&StreamName::from("last")];
    let is_anew = |change: &Change| matches!(change, Change::Snapshot { .. });
    assert!(!last.iter().any(|entry| is_anew(&entry.change)), "it has been written: take more");
    assert_eq!((loaded.log, loaded.ending), (Some(LOG), Ending::Crashed));
    let elsewhere = view::copy(dir.path());
    let (startup, _) = start(elsewhere.path(), &clock);
    assert!(startup.sessions.is_empty(), "a session that was forgotten can be resumed");
}

/// Whoever reads the log later finds them removed before what came then.
#[test]
fn members_with_a_reserved_id_leave_by_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = view::open(dir.path(), BOOT);
    let (mut logs, _) = view::begin(state, 1);
    let put = |id: &str| Change::Put {
        id: id.into(),
        info: "1".into(),
        extra: None,
        until: None,
        max_members: usize::MAX,
    };
    let mut places = Places::new();
    let changes = [began(), put("ann"), put("__proto__"), put("constructor")];
    logs[0].append(&places.entries("some", changes), Instant::now());
    let gone = [began(), put("ann"), put("__proto__"), Change::Kicked { id: "__proto__".into() }];
    logs[0].append(&places.entries("gone", gone), Instant::now());
    drop(logs);

    let clock = Clock::new();
    let reserved = ["__proto__", "constructor", "valueOf"];
    let (startup, _) = start_without(dir.path(), &reserved, &clock);
    let removed = startup.removed.iter().map(|(stream, id)| (stream.as_str(), id.as_str()));
    let removed: Vec<_> = removed.collect();
    assert_eq!(removed, [("some", "__proto__"), ("some", "constructor")]);
    let loaded = view::peek(dir.path());
    let kicked = loaded.streams[&StreamName::from("some")].iter().filter_map(|entry| {
        let Change::Kicked { id } = &entry.change else { return None };
        Some(id.as_str())
    });
    assert_eq!(kicked.collect::<Vec<_>>(), ["__proto__", "constructor"]);
}
