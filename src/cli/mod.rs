//! Arguments and environment → a [`Config`] to start with, something to print, or a refusal.
//!
//! ```text
//! args ─ anycable::arguments ─ clap ─→ flags ┐
//! env  ─ BROKER_…, then ANYCABLE_… ────────→ ├─ Settings ─→ Config
//!        --config / BROKER_CONFIG ─────────→ ┘
//! ```
//!
//! Everything comes in by parameters, so tests can drive it; the process's own arguments and
//! environment are read by `main` alone.

mod anycable;
mod environment;
mod refusal;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};

use crate::config::{Config, LogFormat, Settings};
use crate::telemetry::logging::Format;
use environment::Environment;
use refusal::Refusal;

/// What the command line asks for.
#[derive(Debug)]
pub enum Outcome {
    /// To serve, and what to say in the log at the start.
    Start(Box<Config>, Vec<String>),
    /// To print this on standard output and end with 0.
    Print(String),
    /// Nothing that can be done: tell this on standard error and end with [`REFUSED`].
    Refuse(String),
}

/// The exit code of a refusal.
pub const REFUSED: u8 = 2;

/// The wrap of `--help` where the terminal is wider.
const HELP_WIDTH: usize = 100;

const ABOUT: &str =
    "Holds an application's WebSockets, the streams they follow, and who is present";

const EXAMPLES: &str = "\
Examples:
  broker
      serves this machine alone: sockets at ws://127.0.0.1:8080/cable
  broker --presence-ttl 30s --log-level debug
      keeps a member for 30 seconds after the connection ended
  BROKER_SECRET=... broker --host 0.0.0.0
      serves whoever has a token signed with the secret
  broker --config broker.toml --print-config
      shows what a file, the environment and the flags make together

Durations are written 15s, 2m 30s, 500ms or as bare seconds; sizes 64KiB, 1MiB or as bare bytes.
Flags win over BROKER_ variables, those over the file, the file over the defaults.
AnyCable's spellings work too: --presence_ttl=15, ANYCABLE_PRESENCE_TTL=15.";

/// Reads `args`, the program's own name first, and `env`.
///
/// ```
/// use broker::cli::{Outcome, run};
/// let Outcome::Start(config, _) = run(["broker", "--port", "0"].map(Into::into), []) else {
///     panic!("refused")
/// };
/// assert_eq!(config.port, 0);
/// ```
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Outcome {
    outcome(args.into_iter().collect(), env)
        .unwrap_or_else(|Refusal(sentence)| Outcome::Refuse(sentence))
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

fn outcome(
    args: Vec<OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Outcome, Refusal> {
    let short = args.iter().any(|arg| arg == "-h");
    let files = anycable::check_files(&args, |file| Path::new(file).exists());
    let flags = match flags_only().try_get_matches_from(anycable::arguments(args)?) {
        Ok(flags) => flags,
        Err(e) if e.kind() == ErrorKind::DisplayHelp => return Ok(Outcome::Print(help(short))),
        Err(e) if e.kind() == ErrorKind::DisplayVersion => {
            return Ok(Outcome::Print(e.render().to_string()));
        }
        Err(e) => return Err(refusal::flag(&e)),
    };
    let Environment { broker, anycable, mut warnings } = Environment::read(env)?;

    let path = settings(&flags)?.config.or(settings(&broker)?.config);
    let mut merged = path.as_deref().map_or(Ok(Settings::default()), Settings::read_file)?;
    for layer in [anycable, broker, flags] {
        overlay(&mut merged, &layer)?;
    }

    let print = merged.print_config.unwrap_or(false);
    let config = Config::from_settings(merged)?;
    if print {
        return Ok(Outcome::Print(config.to_toml()));
    }
    if path.is_none() {
        files?;
    }
    warnings.extend(config.warnings());
    Ok(Outcome::Start(Box::new(config), warnings))
}

/// The command: [`Settings`] as flags. It reads no environment by itself; the variables' names
/// are there for `--help`.
fn command() -> Command {
    let command = Command::new("broker")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("`broker --help` says more about each.")
        .after_long_help(EXAMPLES)
        .max_term_width(HELP_WIDTH);
    Settings::augment_args(command)
        .about(ABOUT)
        .long_about(None)
        .mut_args(|arg| arg.hide_env_values(true))
}

/// The command with its flags alone, blind to the process's environment.
fn flags_only() -> Command {
    command().mut_args(|arg| arg.env(None::<&'static str>))
}

/// The short help leaves out the variables: each is the flag's name with `BROKER_` in front.
fn help(short: bool) -> String {
    let mut command = command().mut_args(|arg| arg.hide_env(short));
    if short { command.render_help().to_string() } else { command.render_long_help().to_string() }
}

fn settings(layer: &ArgMatches) -> Result<Settings, Refusal> {
    Settings::from_arg_matches(layer).map_err(|e| refusal::flag(&e))
}

/// Lets what `layer` has win. A key and its file are one setting in two forms: one that is given
/// displaces the other.
fn overlay(merged: &mut Settings, layer: &ArgMatches) -> Result<(), Refusal> {
    let mut upper = settings(layer)?;
    for ((_, given, file), (_, lower, lower_file)) in
        upper.secrets().into_iter().zip(merged.secrets())
    {
        if given.is_some() || file.is_some() {
            (*lower, *lower_file) = (None, None);
        }
    }
    merged.update_from_arg_matches(layer).map_err(|e| refusal::flag(&e))
}
