//! Environment variables as two layers of settings, and warnings about others.
//!
//! A variable's value goes through the parser of its flag. An empty variable is unset. AnyCable's
//! variables are treated like its flags, also when prefixed with `BROKER_` (`BROKER_RPC_HOST`).
//! Unknown variables are logged rather than refused: other programs set some with the same prefix,
//! and so does Kubernetes for a service named `broker`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::ArgMatches;

use super::anycable::{self, Given};
use super::command::{command, flags_only};
use super::engine_choice::EngineChoice;
use super::refusal::{self, Refusal};
use crate::config::nearest;

const OURS: &str = "BROKER_";
const THEIRS: &str = "ANYCABLE_";

/// Variables of AnyCable and the tools around it that name another server, and their flags.
const ELSEWHERE: [(&str, &str); 2] = [("REDIS_URL", "redis-url"), ("NATS_SERVERS", "nats-servers")];

/// Settings from the environment.
pub(super) struct Environment {
    /// From `BROKER_` variables.
    pub(super) broker: ArgMatches,
    /// From `ANYCABLE_` variables.
    pub(super) anycable: ArgMatches,
    /// `ANYCABLE_` variables that name an engine.
    pub(super) choices: Vec<EngineChoice>,
    /// Warnings about unknown variables.
    pub(super) warnings: Vec<String>,
}

impl Environment {
    pub(super) fn read(
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Refusal> {
        let variables: BTreeMap<String, OsString> = env
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        let mut warnings = Vec::new();
        let broker = ours(&variables, &mut warnings)?;
        let mut choices = Vec::new();
        let anycable = theirs(&variables, &mut choices, &mut warnings)?;
        Ok(Self { broker, anycable, choices, warnings })
    }
}

fn ours(
    variables: &BTreeMap<String, OsString>,
    warnings: &mut Vec<String>,
) -> Result<ArgMatches, Refusal> {
    let command = command();
    let flags: BTreeMap<&str, &str> = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_env()?.to_str()?, arg.get_long()?)))
        .collect();
    let mut layer = Layer::default();
    for (variable, value) in variables.iter().filter(|(name, _)| name.starts_with(OURS)) {
        if by_kubernetes(variable, value) {
            continue;
        }
        if let Some(flag) = flags.get(variable.as_str()) {
            layer.add(variable, flag, value)?;
        } else {
            refuse_meaningless(variable, value)?;
            let hint = match nearest(variable, flags.keys().copied()) {
                Some(similar) => format!("did you mean {similar}?"),
                None => "see `broker --help` for those there are".to_owned(),
            };
            warnings.push(format!("{variable} is not a setting and is ignored: {hint}"));
        }
    }
    layer.parse()
}

fn theirs(
    variables: &BTreeMap<String, OsString>,
    choices: &mut Vec<EngineChoice>,
    warnings: &mut Vec<String>,
) -> Result<ArgMatches, Refusal> {
    let mut layer = Layer::default();
    for (variable, value) in variables {
        let Some(flag) = flag_of(variable) else { continue };
        let text = value.to_string_lossy();
        match anycable::given(&flag, Some(&text)) {
            Some(Given::Setting(flag, to)) => {
                layer.add(variable, &flag, to.as_deref().map_or(value, OsStr::new))?;
            }
            Some(Given::NothingNew) => {}
            Some(Given::Engine(engine)) => {
                choices.push(EngineChoice::new(variable, &text, engine));
            }
            Some(Given::Meaningless(reason)) => {
                return Err(meaningless(variable, &flag, &text, reason));
            }
            None => warnings.push(format!("{variable} has no meaning here and is ignored")),
        }
    }
    layer.parse()
}

/// The variables of one prefix, as flags.
#[derive(Default)]
struct Layer<'a> {
    flags: BTreeMap<String, (&'a str, OsString)>,
}

impl<'a> Layer<'a> {
    /// Adds a variable, if its flag accepts the value.
    fn add(&mut self, variable: &'a str, flag: &str, value: &OsStr) -> Result<(), Refusal> {
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(value);
        flags_only()
            .try_get_matches_from([OsStr::new("broker"), &argument])
            .map_err(|e| refusal::variable(variable, &e))?;
        match self.flags.insert(flag.to_owned(), (variable, argument.clone())) {
            Some((other, before)) if before != argument => Err(Refusal(format!(
                "{other} and {variable} are both --{flag} here and differ: keep one"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Parses all of them together.
    fn parse(self) -> Result<ArgMatches, Refusal> {
        let arguments = self.flags.into_values().map(|(_, argument)| argument);
        flags_only()
            .try_get_matches_from(std::iter::once(OsString::from("broker")).chain(arguments))
            .map_err(|e| refusal::flag(&e))
    }
}

/// Refuses a `BROKER_` variable named like an AnyCable setting that the broker can't honour.
fn refuse_meaningless(variable: &str, value: &OsStr) -> Result<(), Refusal> {
    let (Some(flag), value) = (flag_behind(OURS, variable), value.to_string_lossy()) else {
        return Ok(());
    };
    match anycable::given(&flag, Some(&value)) {
        Some(Given::Meaningless(reason)) => Err(meaningless(variable, &flag, &value, reason)),
        Some(Given::Setting(..) | Given::NothingNew | Given::Engine(_)) | None => Ok(()),
    }
}

/// The refusal of a variable. The application may need it too, so it can be unset for the broker
/// alone.
fn meaningless(variable: &str, flag: &str, value: &str, reason: &str) -> Refusal {
    let reason = format!("{reason}; {variable}= (empty) unsets it for the broker alone");
    anycable::meaningless(variable, flag, Some(value), &reason)
}

/// AnyCable's flag for a variable.
fn flag_of(variable: &str) -> Option<String> {
    match ELSEWHERE.iter().find(|(name, _)| *name == variable) {
        Some((_, flag)) => Some((*flag).to_owned()),
        None => flag_behind(THEIRS, variable),
    }
}

/// `presence-ttl` of `ANYCABLE_PRESENCE_TTL` with the prefix `ANYCABLE_`.
fn flag_behind(prefix: &str, variable: &str) -> Option<String> {
    Some(variable.strip_prefix(prefix)?.to_lowercase().replace('_', "-"))
}

/// Whether Kubernetes set it, as it does in each pod for a service named `broker` or `broker-api`:
/// `BROKER_PORT=tcp://10.0.0.1:8080`, `BROKER_SERVICE_HOST`, `BROKER_PORT_8080_TCP`.
fn by_kubernetes(variable: &str, value: &OsStr) -> bool {
    let address = |v: &str| ["tcp://", "udp://", "sctp://"].iter().any(|it| v.starts_with(it));
    variable.starts_with("BROKER_SERVICE_")
        || variable.starts_with("BROKER_PORT_")
        || (variable.ends_with("_PORT") && value.to_str().is_some_and(address))
}
