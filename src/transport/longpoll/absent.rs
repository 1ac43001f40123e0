//! Clients that poll, between two polls. Such a session takes up no file, only a place among the
//! connections, and its client may never come back: so where there is no place left, it makes room.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::pipe::Far;

/// How long a client that has polled may be absent without making room: a client polls again as soon as it
/// has its answer, and this is a slow round trip.
const MIN_ABSENCE: Duration = Duration::from_secs(1);

/// Sessions that have no poll under way.
#[derive(Debug, Default)]
pub(in crate::transport) struct Absent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they make room.
    sessions: BTreeMap<Key, (Instant, Far)>,
}

/// An absence: first those of clients that have not polled yet, each kind in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    has_polled: bool,
    number: u64,
}

impl Absent {
    /// A session's client is absent from now on.
    pub(super) fn enter(&self, has_polled: bool, now: Instant, session: Far) -> Key {
        let mut state = self.0.lock();
        let key = Key { has_polled, number: state.next };
        state.next += 1;
        state.sessions.insert(key, (now, session));
        key
    }

    /// Its client polls, or it has ended.
    pub(super) fn remove(&self, key: Key) {
        let session = self.0.lock().sessions.remove(&key);
        drop(session); // without the lock
    }

    /// Whether a session could make room.
    pub(in crate::transport) fn can_make_room(&self, now: Instant) -> bool {
        self.0.lock().first(now).is_some()
    }

    /// Ends the session that makes room first, if there is one.
    pub(in crate::transport) fn make_room(&self, now: Instant) -> bool {
        while let Some((key, session)) = self.take_first(now) {
            if session.give_up(key, now) {
                return true;
            }
        }
        false
    }

    fn take_first(&self, now: Instant) -> Option<(Key, Far)> {
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use futures_util::future::FutureExt as _;

    use super::super::pipe::{Pipe, pipe};
    use super::*;
    use crate::clock::Clock;
    use crate::outbound::Socket as _;

    struct Sessions {
        clock: Arc<Clock>,
        absent: Arc<Absent>,
    }

    impl Sessions {
        fn new() -> Self {
            Self { clock: Clock::new(), absent: Arc::default() }
        }

        fn open(&self) -> (Pipe, Far) {
            pipe(&self.clock, &self.absent, Duration::from_secs(15))
        }

        async fn make_room(&self, after: Duration) -> bool {
            tokio::time::advance(after).await;
            self.absent.make_room(self.clock.now())
        }
    }

    /// Which of them have been ended.
    fn gone<const N: usize>(pipes: [&Pipe; N]) -> [bool; N] {
        pipes.map(|pipe| poll_fn(|task| pipe.poll_read_ready(task)).now_or_never().is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_polled_makes_room_at_once_the_first_before_others() {
        let sessions = Sessions::new();
        let [(first, _), (second, _)] = [(); 2].map(|()| sessions.open());
        assert!(sessions.make_room(Duration::ZERO).await);
        assert_eq!(gone([&first, &second]), [true, false]);
        assert!(sessions.make_room(Duration::ZERO).await);
        assert_eq!(gone([&first, &second]), [true, true]);
        assert!(!sessions.make_room(MIN_ABSENCE).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_polls_stays_and_who_has_polled_has_time_for_the_next() {
        let sessions = Sessions::new();
        let [(waiting, far), (between, other)] = [(); 2].map(|()| sessions.open());
        let poll = far.poll();
        drop(other.poll());
        assert!(!sessions.make_room(MIN_ABSENCE / 2).await);
        assert!(sessions.make_room(MIN_ABSENCE / 2).await);
        assert!(!sessions.make_room(MIN_ABSENCE).await);
        assert_eq!(gone([&waiting, &between]), [false, true]);
        drop(poll);
        drop(far.poll());
        assert!(sessions.make_room(MIN_ABSENCE).await);
        assert_eq!(gone([&waiting]), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_sessions_that_have_ended() {
        let sessions = Sessions::new();
        let [(polled, far), (unpolled, _)] = [(); 2].map(|()| sessions.open());
        drop(far.poll());
        drop((polled, unpolled));
        drop(far.poll());
        assert!(sessions.absent.0.lock().sessions.is_empty());
    }
}
