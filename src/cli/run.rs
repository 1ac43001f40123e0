//! Reads the command line and the environment.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches as _};

use super::anycable;
use super::command::{flags_only, help};
use super::engine_choice::Engine;
use super::environment::Environment;
use super::refusal::{self, Refusal};
use crate::config::{Config, EngineConfig, LogFormat, Settings};
use crate::telemetry::logging::Format;

/// Result of reading the command line.
#[derive(Debug)]
pub enum Outcome {
    /// Serve with this configuration, and log these warnings at the start.
    Start(Box<Config>, Vec<String>),
    /// Print this on standard output and exit with 0.
    Print(String),
    /// Print this error on standard error and exit with [`REFUSED`].
    Refuse(String),
}

/// Exit code of [`Outcome::Refuse`].
pub const REFUSED: u8 = 2;

/// Reads the arguments, which start with the program's name, and the environment.
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
    let (args, mut choices) = anycable::arguments(args)?;
    let flags = match flags_only().try_get_matches_from(args) {
        Ok(flags) => flags,
        Err(e) if e.kind() == ErrorKind::DisplayHelp => return Ok(Outcome::Print(help(short))),
        Err(e) if e.kind() == ErrorKind::DisplayVersion => {
            return Ok(Outcome::Print(e.render().to_string()));
        }
        Err(e) => return Err(refusal::flag(&e)),
    };
    let environment = Environment::read(env)?;
    let Environment { broker, anycable, choices: by_variables, mut warnings } = environment;
    if choices.is_empty() {
        choices = by_variables;
    }

    let path = settings(&flags)?.config.or(settings(&broker)?.config);
    let mut merged = path.as_deref().map_or(Ok(Settings::default()), Settings::read_file)?;
    for layer in [anycable, broker, flags] {
        overlay(&mut merged, &layer)?;
    }

    let print = merged.print_config.unwrap_or(false);
    let config = Config::from_settings(merged)?;
    let engine = match config.cluster.as_ref().map(|cluster| &cluster.engine) {
        None => Engine::Memory,
        Some(EngineConfig::Redis(_)) => Engine::Redis,
        Some(EngineConfig::Nats(_)) => Engine::Nats,
    };
    choices.iter().try_for_each(|choice| choice.check(engine))?;
    if print {
        return Ok(Outcome::Print(config.to_toml()));
    }
    if path.is_none() {
        files?;
    }
    warnings.extend(config.warnings());
    Ok(Outcome::Start(Box::new(config), warnings))
}

fn settings(layer: &ArgMatches) -> Result<Settings, Refusal> {
    Settings::from_arg_matches(layer).map_err(|e| refusal::flag(&e))
}

/// Overrides `merged` with the settings of `layer`. A key and its file are two forms of one
/// setting: either replaces both.
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
