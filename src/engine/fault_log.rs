//! Log lines about an engine that can't be used, and their counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Interval, MissedTickBehavior};

use crate::telemetry::{EngineFault, EngineInstruments};

/// Time between two log lines with the same sentence.
const QUIET: Duration = Duration::from_secs(10);

/// The faults of an engine's servers. The engine counts as connected when all of them are.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct EngineFaults {
    /// Number of servers that aren't connected.
    unconnected: Arc<AtomicUsize>,
}

/// Logs why a server can't be used: at each change, and then every 10 s; and once when it can be. Counts each fault.
#[derive(Debug)]
pub(in crate::engine) struct FaultLog {
    state: State,
    due: Interval,
    instruments: EngineInstruments,
    of_all: EngineFaults,
}

impl EngineFaults {
    /// The log of one more server.
    pub(in crate::engine) fn log(&self) -> FaultLog {
        let mut due = tokio::time::interval(QUIET);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.unconnected.fetch_add(1, Ordering::Relaxed);
        let (instruments, of_all) = (EngineInstruments::new(), self.clone());
        FaultLog { state: State::Unknown, due, instruments, of_all }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Connected,
    /// What was logged last.
    Failed(String),
}

impl FaultLog {
    pub(in crate::engine) fn new() -> Self {
        EngineFaults::default().log()
    }

    /// The engine can't be used, and is connected to anew.
    pub(in crate::engine) fn fault(&mut self, fault: EngineFault, sentence: String) {
        self.instruments.connected.set(0.0);
        if self.state == State::Connected {
            self.of_all.unconnected.fetch_add(1, Ordering::Relaxed);
        }
        self.instruments.reconnects.increment(fault);
        let is_due = self.due.tick().now_or_never().is_some();
        let state = State::Failed(sentence);
        if self.state != state {
            self.due.reset();
        } else if !is_due {
            return;
        }
        if let State::Failed(sentence) = &state {
            tracing::warn!("{sentence}");
        }
        self.state = state;
    }

    /// This node has put logs back that the engine had lost a part of.
    pub(in crate::engine) fn restored(&mut self, logs: u64) {
        self.instruments.restored_logs.increment(logs);
        tracing::warn!(logs, "the engine had lost data: put back from the memory of this node");
    }

    /// The engine can be used.
    pub(in crate::engine) fn connected(&mut self, address: &str) {
        if self.state != State::Connected {
            self.one_less_is_unconnected();
        }
        match std::mem::replace(&mut self.state, State::Connected) {
            State::Unknown => tracing::info!(address, "connected to the engine"),
            State::Failed(_) => tracing::info!(address, "connected to the engine again"),
            State::Connected => {}
        }
    }

    fn one_less_is_unconnected(&self) {
        if self.of_all.unconnected.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.instruments.connected.set(1.0);
        }
    }
}

impl Drop for FaultLog {
    fn drop(&mut self) {
        if self.state != State::Connected {
            self.one_less_is_unconnected(); // the server isn't used any more
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_is_logged_once_and_then_every_10_s() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let count = || String::from_utf8_lossy(&lines.0.lock()).lines().count();
        let mut log = FaultLog::new();
        let fault =
            |log: &mut FaultLog, text: &str| log.fault(EngineFault::Closed, text.to_owned());
        for (text, lines) in [("a", 1), ("a", 1), ("b", 2), ("b", 2), ("a", 3)] {
            fault(&mut log, text);
            assert_eq!(count(), lines);
        }
        for second in 0..25 {
            fault(&mut log, "a");
            assert_eq!(count(), 3 + second / 10);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for _ in 0..3 {
            log.connected("x");
            assert_eq!(count(), 6);
        }
        fault(&mut log, "a");
        assert_eq!(count(), 7);
    }
}
