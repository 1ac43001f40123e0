//! Long-polling clients without a poll under way. Such a session needs no file, only a permit, and
//! its client may never return; so when all permits are taken, it is evicted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a client that has polled before can't be evicted: it polls again as soon as it has its
/// response, and this allows for a slow round trip.
pub(in crate::net) const MIN_ABSENCE: Duration = Duration::from_secs(1);

/// A session that can be evicted.
pub(in crate::net) trait MakesRoom: fmt::Debug + Send + Sync {
    /// Evicts it, unless its client has polled since; returns whether it did.
    fn give_up(&self, absence: Key, now: Instant) -> bool;
}

/// Sessions without a poll under way.
#[derive(Debug, Default)]
pub(in crate::net) struct Absent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order of eviction.
    sessions: BTreeMap<Key, (Instant, Arc<dyn MakesRoom>)>,
}

/// Sort key: clients that have not polled yet come first, then by start of the absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::net) struct Key {
    has_polled: bool,
    number: u64,
}

impl Absent {
    /// Adds a session whose client has no poll under way.
    pub(in crate::net) fn enter(
        &self,
        has_polled: bool,
        now: Instant,
        session: Arc<dyn MakesRoom>,
    ) -> Key {
        let mut state = self.0.lock();
        let key = Key { has_polled, number: state.next };
        state.next += 1;
        state.sessions.insert(key, (now, session));
        key
    }

    /// Removes a session: its client polls, or it has ended.
    pub(in crate::net) fn remove(&self, key: Key) {
        let session = self.0.lock().sessions.remove(&key);
        drop(session); // outside the lock
    }

    /// Whether a session could be evicted.
    pub(in crate::net) fn can_make_room(&self, now: Instant) -> bool {
        self.0.lock().first(now).is_some()
    }

    /// Evicts the first session, if there is one.
    pub(in crate::net) fn make_room(&self, now: Instant) -> bool {
        while let Some((key, session)) = self.take_first(now) {
            if session.give_up(key, now) {
                return true;
            }
        }
        false
    }

    fn take_first(&self, now: Instant) -> Option<(Key, Arc<dyn MakesRoom>)> {
        let mut state = self.0.lock();
        let key = state.first(now)?;
        state.sessions.remove(&key).map(|(_, session)| (key, session))
    }
}

impl State {
    fn first(&self, now: Instant) -> Option<Key> {
        let (key, (since, _)) = self.sessions.first_key_value()?;
        let absence = now.saturating_duration_since(*since);
        (!key.has_polled || absence >= MIN_ABSENCE).then_some(*key)
    }
}
