//! The gate through which calls are sent: a [`Queue`] that tasks wait in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::queue::{End, Lane, Pass, Queue, Ticket};
use crate::clock::Clock;
use crate::telemetry::ApplicationInstruments;
use crate::types::SessionId;

/// The gate.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    clock: Arc<Clock>,
    instruments: Arc<ApplicationInstruments>,
    /// Time lets somebody through, earlier than it was to.
    timed: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue<oneshot::Sender<Permit>>,
    /// When time is to let somebody through.
    wakes_at: Option<Instant>,
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
        let state = Mutex::new(State { queue, wakes_at: None });
        Arc::new(Self { state, clock, instruments, timed: Notify::new() })
    }

    /// Waits for the right to send a call. Whoever drops the future waits no longer.
    pub(super) async fn enter(
        self: &Arc<Self>,
        lane: Lane,
        session: SessionId,
    ) -> Result<Permit, Full> {
        let (ticket, receiver) = {
            let now = self.clock.now();
            let State { queue, .. } = &mut *self.state.lock();
            if let Some(pass) = queue.send(lane, session, now) {
                measure(queue, &self.instruments);
                return Ok(self.permit(pass));
            }
            let (sender, receiver) = oneshot::channel();
            (queue.enter(lane, session, sender, now).ok_or(Full)?, receiver)
        };
        let _waiting = Waiting { gate: self, ticket };
        self.send_next();
        receiver.await.map_err(|_| Full) // never: the sender is in the queue, or used
    }

    /// Whether one more has a place, and a prospect within a time.
    pub(super) fn has_room(&self, lane: Lane, longest: Duration) -> bool {
        self.state.lock().queue.has_room(lane, longest, self.clock.now())
    }

    /// Whether nothing gets through.
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().queue.is_open()
    }

    /// Lets those through that only wait for time.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let turns = async {
            loop {
                let at = self.state.lock().wakes_at;
                let time = async {
                    match at {
                        Some(at) => {
                            let left = at.saturating_duration_since(self.clock.now());
                            tokio::time::sleep(left).await;
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = time => {
                        self.state.lock().wakes_at = None;
                        self.send_next();
                    }
                    () = self.timed.notified() => {}
                }
            }
        };
        stop.run_until_cancelled(turns).await;
    }

    /// Lets all through that may go now.
    fn send_next(self: &Arc<Self>) {
        let now = self.clock.now();
        loop {
            let (pass, waiter) = {
                let State { queue, wakes_at } = &mut *self.state.lock();
                let Some(next) = queue.next(now) else {
                    measure(queue, &self.instruments);
                    if let Some(at) = queue.wakes_at(now)
                        && wakes_at.is_none_or(|earlier| at < earlier)
                    {
                        *wakes_at = Some(at);
                        self.timed.notify_one();
                    }
                    return;
                };
                next
            };
            drop(waiter.send(self.permit(pass))); // one that has just left gives it back
        }
    }

    fn permit(self: &Arc<Self>, pass: Pass) -> Permit {
        Permit { gate: Arc::clone(self), pass, end: End::Unknown }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn measure<T>(queue: &Queue<T>, instruments: &ApplicationInstruments) {
    instruments.waiting.set(queue.waiting() as f64);
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
        let has_line = {
            let State { queue, .. } = &mut *self.gate.state.lock();
            queue.finish(self.pass, self.end, self.gate.clock.now());
            measure(queue, &self.gate.instruments);
            queue.has_line()
        };
        if has_line {
            self.gate.send_next();
        }
    }
}

/// A place in the queue, until it is dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let State { queue, .. } = &mut *self.gate.state.lock();
        if queue.leave(self.ticket) {
            measure(queue, &self.gate.instruments);
        }
    }
}
