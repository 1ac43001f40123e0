//! What is taken up from disk at the start, if anything is kept there.

use std::sync::Arc;

use super::Error;
use crate::clock::Clock;
use crate::config::Config;
use crate::node::Startup;
use crate::shard::Settings;
use crate::state::{Boot, Ending, KeeperGuard, State};
use crate::telemetry::Instruments;

/// What so many shards begin with, and what looks after their files as long as it is held.
pub(super) fn begin(
    config: &Config,
    shards: usize,
    settings: Settings,
    clock: &Clock,
    instruments: &Arc<Instruments>,
) -> Result<(Startup, Option<KeeperGuard>), Error> {
    let now = clock.now();
    let Some(dir) = &config.state_dir else {
        return Ok((Startup::empty(shards, settings, now), None));
    };
    let (state, mut loaded) = State::open(dir, Boot::current())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let has_history = settings.history.limit > 0;
    let (logs, keeper) = state.begin(shards, has_history, instruments, now);
    let keeping = keeper.every(config.state_interval)?;
    let before = match loaded.ending {
        Ending::Clean if loaded.streams.is_empty() => "left nothing",
        Ending::Clean => "stopped in good order",
        Ending::Crashed => "just ended",
        Ending::Incomplete => "ended so that something may be missing: histories begin anew",
    };
    if has_history && !loaded.has_history {
        tracing::info!("histories begin anew: none was kept while --history-limit was 0");
    }
    let reserved = config.limits.reserved_presence_ids;
    if loaded.take_out(|id| reserved.contains(&id.as_str())) {
        tracing::warn!(
            "members from before are taken out: their presence ids are reserved where Phoenix is spoken"
        );
    }
    let streams = loaded.streams.len();
    // reading took a while: what is left of anyone's time is left from here on
    let startup = Startup::restored(settings, loaded, logs, clock.unix(), clock.now());
    tracing::info!(
        dir = %dir.display(),
        streams,
        sessions = startup.sessions.len(),
        before,
        "state"
    );
    Ok((startup, Some(keeping)))
}
