//! What the shards begin with: nothing, or what was kept on disk.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::Recipient;
use super::hub::place;
use crate::broker::{Restoring, Settings, Shard};
use crate::session::Session;
use crate::state::{Ending, Loaded, Log};
use crate::types::SessionId;

/// The shards, each with the log that its changes are written to, if they are.
#[derive(Debug)]
pub struct Beginning {
    pub(super) shards: Vec<(Shard<Recipient>, Option<Log>)>,
    pub(super) settings: Settings,
    /// The sessions that can be resumed from the start.
    pub sessions: Vec<Session>,
}

impl Beginning {
    /// Shards without streams, with seeds of their own and a share of the memory each.
    pub fn empty(shards: usize, settings: Settings, now: Instant) -> Self {
        let count = shards.max(1);
        let shards = (0..count).map(|number| {
            let mut settings = settings;
            settings.history.max_bytes /= count;
            settings.seed = settings.seed.wrapping_add(number as u64);
            (Shard::new(settings, now), None)
        });
        Self { shards: shards.collect(), settings, sessions: Vec::new() }
    }

    /// Shards with the streams that were there before, one for each log. `unix` is the time of day.
    pub fn restored(
        settings: Settings,
        loaded: Loaded,
        logs: Vec<Log>,
        unix: Duration,
        now: Instant,
    ) -> Self {
        let mut beginning = Self::empty(logs.len(), settings, now);
        let unix = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        let complete = loaded.ending != Ending::Incomplete;
        // without one, nobody knows what was published since the positions that clients have
        let has_history = complete && loaded.has_history && settings.history.limit > 0;
        let forgotten = if has_history { loaded.forgotten } else { unix };
        for ((shard, log), kept) in beginning.shards.iter_mut().zip(logs) {
            shard.keep_changes();
            shard.restore_forgotten(forgotten);
            *log = Some(kept);
        }
        let count = beginning.shards.len();
        for (stream, changes) in loaded.streams {
            if let Some((shard, _)) = beginning.shards.get_mut(place(&stream, count)) {
                shard.restore(changes, Restoring { unix, complete, has_history, now });
            }
        }
        let mut sessions: HashMap<SessionId, Session, RandomState> = HashMap::default();
        for (shard, _) in &mut beginning.shards {
            shard.take_changes(); // all of it is written anew
            shard.take_counts();
            for (stream, key, grant) in shard.resumable() {
                let identifier = key.group.identifier.clone();
                let session = sessions
                    .entry(key.session)
                    .or_insert_with(|| Session::restored(key.session, grant.identity));
                session.restore(identifier, stream.clone(), key.group.watch, grant.rights);
            }
        }
        beginning.sessions = sessions.into_values().collect();
        beginning
    }
}
