//! Restores the state directory at the start.

use std::sync::Arc;

use super::error::Error;
use crate::clock::Clock;
use crate::config::Config;
use crate::node::Startup;
use crate::shard::Settings;
use crate::state::{Boot, Ending, KeeperGuard, StateDir};
use crate::telemetry::Instruments;
use crate::types::PresenceId;

/// The shards to start with, and the guard of the thread that syncs their files.
pub(super) fn begin(
    config: &Config,
    shards: usize,
    mut settings: Settings,
    clock: &Clock,
    instruments: &Arc<Instruments>,
) -> Result<(Startup, Option<KeeperGuard>), Error> {
    let now = clock.now();
    let Some(dir) = &config.state_dir else {
        return Ok((Startup::empty(shards, settings, now), None));
    };
    let (state, loaded) = StateDir::open(dir, Boot::current())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let has_history = settings.history.limit > 0;
    let is_whole = loaded.ending != Ending::Incomplete && loaded.has_history;
    // else clients may know lost entries, and new ones must not reuse their names
    settings.log = loaded.log.filter(|_| is_whole).unwrap_or(settings.log);
    let (logs, keeper) = state.begin(shards, has_history, settings.log, instruments, now);
    let keeping = keeper.every(config.state_interval)?;
    let before = match loaded.ending {
        Ending::Clean if loaded.streams.is_empty() => "clean shutdown, nothing kept",
        Ending::Clean => "clean shutdown",
        Ending::Crashed => "crash",
        Ending::Incomplete => "crash, something may be missing: histories begin anew",
    };
    if has_history && !loaded.has_history {
        tracing::info!("histories begin anew: the previous run kept none (--history-limit 0)");
    }
    let streams = loaded.streams.len();
    // TTLs continue from here: the time spent loading doesn't count
    let is_reserved = |id: &PresenceId| config.limits.reserved(id.as_str()).is_some();
    let times = (clock.unix(), clock.now());
    let startup = Startup::restored(settings, loaded, is_reserved, logs, times);
    for (stream, id) in &startup.removed {
        tracing::warn!(
            %stream,
            %id,
            "removed a restored member: its presence id is reserved by an enabled protocol"
        );
    }
    tracing::info!(
        dir = %dir.display(),
        streams,
        sessions = startup.sessions.len(),
        before,
        "state restored"
    );
    Ok((startup, Some(keeping)))
}
