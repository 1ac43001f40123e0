//! The gate through which calls are sent: a [`Queue`] that tasks wait in.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::queue::{End, Lane, Pass, Queue, Ticket};
use crate::clock::Clock;
use crate::telemetry::ApplicationInstruments;

/// The gate.
#[derive(Debug)]
pub(super) struct Gate {
    queue: Mutex<Queue<oneshot::Sender<Permit>>>,
    clock: Arc<Clock>,
    instruments: Arc<ApplicationInstruments>,
    /// Time may let somebody through.
    timed: Notify,
}

/// The right to send one call, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    pass: Pass,
    end: End,
}

/// No place is left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Gate {
    pub(super) fn new(
        places: usize,
        limit: Option<usize>,
        clock: Arc<Clock>,
        instruments: Arc<ApplicationInstruments>,
    ) -> Arc<Self> {
        let queue = Queue::new(places, limit);
        measure(&queue, &instruments);
        Arc::new(Self { queue: Mutex::new(queue), clock, instruments, timed: Notify::new() })
    }

    /// Waits for the right to send a call. Whoever drops the future waits no longer.
    pub(super) async fn enter(self: &Arc<Self>, lane: Lane) -> Result<Permit, Full> {
        let (sender, receiver) = oneshot::channel();
        let ticket = self.queue.lock().enter(lane, sender, self.clock.now()).ok_or(Full)?;
        let _waiting = Waiting { gate: self, ticket };
        self.send_next();
        receiver.await.map_err(|_| Full) // never: the sender is in the queue, or used
    }

    /// Whether one more has a place, and a prospect within a time.
    pub(super) fn has_room(&self, lane: Lane, longest: Duration) -> bool {
        self.queue.lock().has_room(lane, longest, self.clock.now())
    }

    /// Whether nothing gets through.
    pub(super) fn is_open(&self) -> bool {
        self.queue.lock().is_open()
    }

    /// Lets those through that only wait for time.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let turns = async {
            loop {
                self.timed.notified().await;
                let now = self.clock.now();
                let at = self.queue.lock().wakes_at(now);
                if let Some(at) = at {
                    tokio::time::sleep(at.saturating_duration_since(now)).await;
                }
                self.send_next();
            }
        };
        stop.run_until_cancelled(turns).await;
    }

    /// Lets all through that may go now.
    fn send_next(self: &Arc<Self>) {
        let now = self.clock.now();
        loop {
            let (next, waits) = {
                let mut queue = self.queue.lock();
                let next = queue.next(now);
                if next.is_none() {
                    measure(&queue, &self.instruments);
                }
                (next, queue.wakes_at(now).is_some())
            };
            let Some((pass, waiter)) = next else {
                if waits {
                    self.timed.notify_one();
                }
                return;
            };
            let permit = Permit { gate: Arc::clone(self), pass, end: End::Unknown };
            drop(waiter.send(permit)); // one that has just left gives it back
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn measure<T>(queue: &Queue<T>, instruments: &ApplicationInstruments) {
    instruments.waiting.set(queue.all_waiting() as f64);
    instruments.running.set(queue.sent() as f64);
    instruments.limit.set(queue.limit() as f64);
    instruments.breaker_open.set(if queue.is_open() { 1.0 } else { 0.0 });
}

impl Permit {
    /// Says how the call has ended.
    pub(super) fn end(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.queue.lock().finish(self.pass, self.end, self.gate.clock.now());
        self.gate.send_next();
    }
}

/// A place in the queue, until it is dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queue = self.gate.queue.lock();
        if queue.leave(self.ticket) {
            measure(&queue, &self.gate.instruments);
        }
    }
}
