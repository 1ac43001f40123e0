//! SIGTERM and SIGINT, and SIGHUP where there is something to read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::telemetry::logging;

/// What a shell reports for a process that SIGINT ended; a second signal ends this one the same.
const CUT_SHORT: i32 = 130;

/// The signal that asks for a reload. Where nobody waits for it, it ends the process as ever.
pub(super) fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// The signals that stop the broker.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the system's own way of handling them.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for a signal and says which it was.
    pub(super) async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends the process at once if another signal comes.
    pub(super) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            let signal = self.recv().await;
            tracing::warn!(signal, "a second signal: ending at once");
            logging::flush();
            std::process::exit(CUT_SHORT);
        });
    }
}
