//! Logs on standard error: compact text for people, JSON for collectors.
//!
//! One filter, set at the start, selects the lines. `RUST_LOG` is ignored: there is one way to set
//! the level.
//!
//! Logging never blocks or ends the process, whatever happens to standard error: a thread
//! (`writer`) writes the lines, and panics are logged like anything else.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::writer::Writer;

/// The writer thread's queue, once logs are set up.
static STDERR: Writer = Writer::new();

/// What is said of NATS is said by the engine, in sentences. A level that names this module has the last word.
const QUIET: &str = "async_nats=off";

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Compact text, coloured on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs can't be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The level is no filter.
    #[error("the log level is not a filter: {0}")]
    Level(#[from] ParseError),
    /// The process has a logger already.
    #[error("a logger is already set up: {0}")]
    Twice(#[from] TryInitError),
    /// The writer thread can't be started.
    #[error("failed to start the log writer: {0}")]
    Thread(#[from] io::Error),
}

/// Sends the process's logs to standard error: lines that pass `level` (`info`,
/// `info,broker::http=debug`), in `format`. Call it once.
pub fn init(level: &str, format: Format) -> Result<(), LoggingError> {
    let ansi = io::stderr().is_terminal();
    subscriber(level, format, ansi, || &STDERR)?.try_init()?;
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(|| STDERR.run(io::stderr(), tell_lost))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Writes a text to standard error, after the lines logged so far.
pub fn print(text: &str) {
    STDERR.push(text.as_bytes());
}

/// Waits until all lines are written, at most half a second. Call it before the process ends.
pub fn flush() {
    STDERR.flush();
}

/// Number of lines lost since the start.
pub fn lost_lines() -> u64 {
    STDERR.lost()
}

fn tell_lost(lines: u64) {
    tracing::warn!(lines, "log lines lost: standard error failed or was too slow");
}

/// The standard library's hook writes to standard error directly, and could block.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let backtrace = Backtrace::capture(); // captured if RUST_BACKTRACE asks for it
    let is_wanted = backtrace.status() == BacktraceStatus::Captured;
    let backtrace = is_wanted.then(|| tracing::field::display(backtrace));
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name(),
        backtrace,
        "panicked at {place}: {}",
        text.unwrap_or("the panic has no text")
    );
}

fn subscriber<W>(
    level: &str,
    format: Format,
    ansi: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(format!("{QUIET},{level}"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false); // it would write errors to standard error directly, and panic there
    Ok(match format {
        Format::Text => Box::new(lines.compact().with_ansi(ansi).with_target(false).finish()),
        Format::Json => Box::new(
            lines
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(level: &str, format: Format, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(level, format, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn text_is_a_line_with_fields() {
        let text = written("info", Format::Text, || tracing::info!(port = 8080, "listening"));
        assert!(text.contains("INFO") && text.contains("listening port=8080"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn json_is_an_object_with_the_fields_on_top() {
        let text = written("info", Format::Json, || tracing::info!(port = 8080, "listening"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "listening");
        assert_eq!(line["port"], 8080);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_filter_decides() {
        let text = written("warn", Format::Text, || tracing::info!("not told"));
        assert_eq!(text, "");
        assert!(matches!(init("a=b=c", Format::Text), Err(LoggingError::Level(_))));
    }
}
