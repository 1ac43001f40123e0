//! Clients that poll, between two polls. Such a session takes up no file, only a place among the
//! connections, and its client may never come back: so where there is no place left, it makes room.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a client that has polled may be absent without making room: a client polls again as soon as it
/// has its answer, and this is a slow round trip.
pub(in crate::net) const MIN_ABSENCE: Duration = Duration::from_secs(1);

/// A session that can be ended, so that another client has its place.
pub(in crate::net) trait MakesRoom: fmt::Debug + Send + Sync {
    /// Ends it, unless its client is back from this absence; whether it did.
    fn give_up(&self, absence: Key, now: Instant) -> bool;
}

/// Sessions that have no poll under way.
#[derive(Debug, Default)]
pub(in crate::net) struct Absent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they make room.
    sessions: BTreeMap<Key, (Instant, Arc<dyn MakesRoom>)>,
}

/// An absence: first those of clients that have not polled yet, each kind in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::net) struct Key {
    has_polled: bool,
    number: u64,
}

impl Absent {
    /// A session's client is absent from now on.
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

    /// Its client polls, or it has ended.
    pub(in crate::net) fn remove(&self, key: Key) {
        let session = self.0.lock().sessions.remove(&key);
        drop(session); // without the lock
    }

    /// Whether a session could make room.
    pub(in crate::net) fn can_make_room(&self, now: Instant) -> bool {
        self.0.lock().first(now).is_some()
    }

    /// Ends the session that makes room first, if there is one.
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
