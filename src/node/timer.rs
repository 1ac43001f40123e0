//! Wakes a shard's task when its queue is empty: at the stop, or at a deadline.
//!
//! Both futures are created once and kept from turn to turn. An early wake-up costs less than
//! setting the timer for each command.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::clock::Clock;

pub(super) struct Timer {
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    sleep: Pin<Box<Sleep>>,
    /// The deadline it is set to.
    at: Option<Instant>,
}

impl Timer {
    /// A timer that fires at the stop only. Needs a runtime.
    pub(super) fn new(stop: &CancellationToken) -> Self {
        let stop = Box::pin(stop.clone().cancelled_owned());
        Self { stop, sleep: Box::pin(tokio::time::sleep(Duration::ZERO)), at: None }
    }

    /// Ready at the stop, and at `due` or earlier: then call it again. Not to be polled after the
    /// stop.
    pub(super) fn poll(
        &mut self,
        task: &mut Context<'_>,
        due: Option<Instant>,
        clock: &Clock,
    ) -> Poll<()> {
        if self.stop.as_mut().poll(task).is_ready() {
            return Poll::Ready(());
        }
        let Some(due) = due else { return Poll::Pending };
        if self.at.is_none_or(|at| due < at) {
            let left = due.saturating_duration_since(clock.now());
            self.sleep.set(tokio::time::sleep(left));
            self.at = Some(due);
        }
        let rings = self.sleep.as_mut().poll(task);
        if rings.is_ready() {
            self.at = None;
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Waits until it rings or a long time has passed; whether it rang.
    async fn rings(timer: &mut Timer, due: Option<Instant>, clock: &Clock) -> bool {
        let ring = poll_fn(|task| timer.poll(task, due, clock));
        tokio::time::timeout(SECOND * 60, ring).await.is_ok()
    }

    /// Waits until it is due, however often it rings before.
    async fn wait(timer: &mut Timer, due: Instant, clock: &Clock) -> Instant {
        while clock.now() < due {
            assert!(rings(timer, Some(due), clock).await);
        }
        clock.now()
    }

    /// A clock that is looked at often enough to see no pause, while time is the tests'.
    fn watched_clock(stop: &CancellationToken) -> std::sync::Arc<Clock> {
        let clock = Clock::new();
        tokio::spawn(std::sync::Arc::clone(&clock).watch(stop.clone()));
        clock
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_something_is_due_wherever_that_moves() {
        let stop = CancellationToken::new();
        let clock = watched_clock(&stop);
        let mut timer = Timer::new(&stop);
        let start = clock.now();
        let soon = |due: Instant| due..due + SECOND / 20;
        assert!(!rings(&mut timer, None, &clock).await);
        let begun = clock.now();
        assert!(begun >= start + SECOND * 60);

        let later = begun + SECOND * 100;
        assert!(!rings(&mut timer, Some(later), &clock).await);
        let sooner = begun + SECOND * 70; // set for later, it is set anew
        assert!(soon(sooner).contains(&wait(&mut timer, sooner, &clock).await));
        let latest = begun + SECOND * 120; // set for sooner, it rings and is set again
        let between = begun + SECOND * 90;
        let ring = poll_fn(|task| timer.poll(task, Some(between), &clock));
        assert!(tokio::time::timeout(SECOND, ring).await.is_err());
        assert!(soon(latest).contains(&wait(&mut timer, latest, &clock).await));
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_stop() {
        let stop = CancellationToken::new();
        let clock = watched_clock(&CancellationToken::new());
        let mut timer = Timer::new(&stop);
        assert!(!rings(&mut timer, None, &clock).await);
        stop.cancel();
        assert!(rings(&mut timer, Some(clock.now() + SECOND * 3600), &clock).await);
    }
}
