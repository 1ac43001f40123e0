//! The ends of sessions, which the application is told one after the other at a bounded rate, each until it has
//! heard of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::ApplicationInstruments;
use crate::types::{Call, CallFailure};

/// Maximum number that wait, of about 1 KiB each; of more the oldest are lost.
const MAX_WAITING: usize = 65_536;

/// Maximum number of those that the application is being told.
const MAX_TOLD: usize = 32;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the application is told what it fails at each time.
const TRIES: u8 = 5;

/// What is called when an end needn't be told any more.
pub(super) type Done = Box<dyn FnOnce() + Send>;

/// The ends that the application is yet to be told.
#[derive(Debug)]
pub(super) struct Disconnects {
    state: Mutex<State>,
    /// Pause between two.
    pace: Duration,
    /// There is no such pause any more.
    unpaced: CancellationToken,
    changed: Notify,
    instruments: Arc<ApplicationInstruments>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Disconnect>,
    /// Those that the application is being told.
    told: usize,
}

struct Disconnect {
    call: Call,
    /// Called when the application has heard of it, or that is given up.
    done: Done,
    /// How often the application has failed at it.
    failures: u8,
}

impl Disconnects {
    pub(super) fn new(rate: Option<usize>, instruments: Arc<ApplicationInstruments>) -> Arc<Self> {
        let rate = rate.and_then(|rate| u32::try_from(rate).ok());
        let pace = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        let (state, changed) = (Mutex::default(), Notify::new());
        let unpaced = CancellationToken::new();
        Arc::new(Self { state, pace, unpaced, changed, instruments })
    }

    /// One more.
    pub(super) fn add(&self, call: Call, done: Done) {
        self.put(Disconnect { call, done, failures: 0 });
    }

    /// From now on there is no pause between two.
    pub(super) fn drop_pace(&self) {
        self.unpaced.cancel();
    }

    /// Number of those that the application may not know yet.
    pub(super) fn untold(&self) -> usize {
        let state = self.state.lock();
        state.waiting.len() + state.told
    }

    /// Waits until there is none.
    pub(super) async fn all_told(&self) {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state.lock();
                if state.waiting.is_empty() && state.told == 0 {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Tells them, for ever, each by `tell`.
    pub(super) async fn run<T>(
        self: Arc<Self>,
        tell: impl Fn(Call) -> T + Clone + Send + Sync + 'static,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) where
        T: Future<Output = Result<(), CallFailure>> + Send + 'static,
    {
        loop {
            let changed = self.changed.notified();
            let Some(next) = self.next() else {
                changed.await;
                continue;
            };
            let (disconnects, told, stop) =
                (Arc::clone(&self), tell(next.call.clone()), stop.clone());
            tasks.spawn(async move { disconnects.finish(next, told.await, stop).await });
            if !self.pace.is_zero() {
                self.unpaced.run_until_cancelled(tokio::time::sleep(self.pace)).await;
            }
        }
    }

    fn next(&self) -> Option<Disconnect> {
        let mut state = self.state.lock();
        if state.told >= MAX_TOLD {
            return None;
        }
        let next = state.waiting.pop_front()?;
        state.told += 1;
        Some(next)
    }

    async fn finish(
        &self,
        mut disconnect: Disconnect,
        told: Result<(), CallFailure>,
        stop: CancellationToken,
    ) {
        let again = match told {
            Ok(()) => false, // whatever it says
            Err(CallFailure::Unreachable | CallFailure::Overloaded | CallFailure::Late) => true,
            Err(CallFailure::Broken) => {
                disconnect.failures += 1;
                disconnect.failures < TRIES
            }
        };
        if again {
            stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            self.put(disconnect);
        } else {
            if told.is_err() {
                self.lose();
            }
            (disconnect.done)();
        }
        self.state.lock().told -= 1;
        self.changed();
    }

    fn put(&self, disconnect: Disconnect) {
        let mut state = self.state.lock();
        if state.waiting.len() >= MAX_WAITING {
            state.waiting.pop_front();
            self.lose();
        }
        state.waiting.push_back(disconnect);
        drop(state);
        self.changed();
    }

    fn lose(&self) {
        self.instruments.disconnects_lost.increment(1);
    }

    fn changed(&self) {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
        let waiting = self.state.lock().waiting.len() as f64;
        self.instruments.disconnects_waiting.set(waiting);
        self.changed.notify_waiters();
    }
}

impl std::fmt::Debug for Disconnect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call, failures, .. } = self;
        f.debug_struct("Disconnect").field("call", call).field("failures", failures).finish()
    }
}
