//! What a shard's task is woken by when nothing is in its queue: the stop, or a deadline.
//!
//! Both are waited for again and again, mostly in vain, so they are set up once and stay from turn to
//! turn: a timer that rings early costs less than one that is set for each command.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::clock::Clock;

pub(super) struct Alarm {
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    sleep: Pin<Box<Sleep>>,
    /// When the timer rings, if it is set.
    at: Option<Instant>,
}

impl Alarm {
    /// One that rings at the stop only. Needs a runtime.
    pub(super) fn new(stop: &CancellationToken) -> Self {
        let stop = Box::pin(stop.clone().cancelled_owned());
        Self { stop, sleep: Box::pin(tokio::time::sleep(Duration::ZERO)), at: None }
    }

    /// Ready at the stop and when `due` has come, or earlier: then wait again. Not to be asked
    /// again after the stop.
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
