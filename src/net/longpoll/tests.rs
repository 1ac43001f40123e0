//! Sessions of clients that poll, and how they make room for others.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt as _;

use super::pipe::{PollClient, PollSocket, pipe};
use crate::clock::Clock;
use crate::net::admission::absent::{Absent, MIN_ABSENCE};
use crate::outbound::Socket as _;

struct Sessions {
    clock: Arc<Clock>,
    absent: Arc<Absent>,
}

impl Sessions {
    fn new() -> Self {
        Self { clock: Clock::new(), absent: Arc::default() }
    }

    fn open(&self) -> (PollSocket, PollClient) {
        pipe(&self.clock, &self.absent, Duration::from_secs(15))
    }

    async fn make_room(&self, after: Duration) -> bool {
        tokio::time::advance(after).await;
        self.absent.make_room(self.clock.now())
    }
}

/// Which of them have been ended.
fn gone<const N: usize>(pipes: [&PollSocket; N]) -> [bool; N] {
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
async fn who_has_made_room_does_not_come_back() {
    let sessions = Sessions::new();
    let (socket, client) = sessions.open();
    assert!(sessions.make_room(Duration::ZERO).await);
    let poll = client.poll();
    assert_eq!(gone([&socket]), [true], "its place is another's");
    drop(poll);
    assert_eq!(gone([&socket]), [true]);
    assert!(!sessions.make_room(MIN_ABSENCE).await, "it makes room once");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_sessions_that_have_ended() {
    let sessions = Sessions::new();
    let [(polled, far), (unpolled, _)] = [(); 2].map(|()| sessions.open());
    drop(far.poll());
    drop((polled, unpolled));
    drop(far.poll());
    assert!(!sessions.absent.can_make_room(sessions.clock.now() + MIN_ABSENCE));
}
