//! Signals: SIGTERM and SIGINT stop the broker, SIGHUP reloads the TLS certificate.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::telemetry::logging;

/// Exit code after a second signal: the one a shell reports for a process ended by SIGINT.
const CUT_SHORT: i32 = 130;

/// The stream of SIGHUPs. Without it, the signal keeps its default action and ends the process.
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
    /// Replaces the default actions of both signals.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for a signal and returns its name.
    pub(super) async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Ends the process at once on the next signal.
    pub(super) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            let signal = self.recv().await;
            tracing::warn!(signal, "second signal: exiting at once");
            logging::flush();
            std::process::exit(CUT_SHORT);
        });
    }
}
