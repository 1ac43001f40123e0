//! Environment variables → two layers of settings, and what to warn about.
//!
//! A variable's value goes through the parser of its flag, so that both are read alike. Empty is
//! unset. AnyCable's variables are taken as its flags are, and refused as those are, also with our
//! beginning: `BROKER_RPC_HOST`. Variables nobody here knows are reported in the log, not refused: other programs, and Kubernetes for a service named
//! `broker`, set some with the same beginning.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::ArgMatches;

use super::anycable::{self, Given};
use super::command::{command, flags_only};
use super::refusal::{self, Refusal};
use crate::config::nearest;

const OURS: &str = "BROKER_";
const THEIRS: &str = "ANYCABLE_";

/// Variables by which AnyCable, and what is beside it, is led to another server, and the flag each is.
const ELSEWHERE: [(&str, &str); 2] = [("REDIS_URL", "redis-url"), ("NATS_SERVERS", "nats-servers")];

/// What the environment says.
pub(super) struct Environment {
    /// By `BROKER_` variables.
    pub(super) broker: ArgMatches,
    /// By `ANYCABLE_` variables.
    pub(super) anycable: ArgMatches,
    /// About variables that say nothing here.
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
        let anycable = theirs(&variables, &mut warnings)?;
        Ok(Self { broker, anycable, warnings })
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
    warnings: &mut Vec<String>,
) -> Result<ArgMatches, Refusal> {
    let mut layer = Layer::default();
    for (variable, value) in variables {
        let Some(flag) = flag_of(variable) else { continue };
        let text = value.to_string_lossy();
        match anycable::given(&flag, Some(&text)) {
            Some(Given::Setting(flag, to)) => {
                layer.add(variable, &flag, to.map_or(value, OsStr::new))?;
            }
            Some(Given::NothingNew) => {}
            Some(Given::Meaningless(reason)) => {
                return Err(meaningless(variable, &flag, &text, reason));
            }
            None => warnings.push(format!("{variable} has no meaning here and is ignored")),
        }
    }
    layer.parse()
}

/// The variables of one kind as flags.
#[derive(Default)]
struct Layer<'a> {
    flags: BTreeMap<String, (&'a str, OsString)>,
}

impl<'a> Layer<'a> {
    /// Takes `variable` for `flag`, if the flag takes the value.
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

    /// All of them together.
    fn parse(self) -> Result<ArgMatches, Refusal> {
        let arguments = self.flags.into_values().map(|(_, argument)| argument);
        flags_only()
            .try_get_matches_from(std::iter::once(OsString::from("broker")).chain(arguments))
            .map_err(|e| refusal::flag(&e))
    }
}

/// Refuses a variable of ours by the name of a setting of AnyCable's that asks for more than there is.
fn refuse_meaningless(variable: &str, value: &OsStr) -> Result<(), Refusal> {
    let (Some(flag), value) = (flag_behind(OURS, variable), value.to_string_lossy()) else {
        return Ok(());
    };
    match anycable::given(&flag, Some(&value)) {
        Some(Given::Meaningless(reason)) => Err(meaningless(variable, &flag, &value, reason)),
        Some(Given::Setting(..) | Given::NothingNew) | None => Ok(()),
    }
}

/// Why a variable is refused. Where the application reads it, too, it can't be taken away.
fn meaningless(variable: &str, flag: &str, value: &str, reason: &str) -> Refusal {
    let reason = format!("{reason}; {variable}= (empty) unsets it for the broker alone");
    anycable::meaningless(variable, flag, Some(value), &reason)
}

/// The flag that a variable of AnyCable's is.
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

/// Whether Kubernetes put it there, as it does in each pod for a service named `broker`, or
/// `broker-api`: `BROKER_PORT=tcp://10.0.0.1:8080`, `BROKER_SERVICE_HOST`, `BROKER_PORT_8080_TCP`.
fn by_kubernetes(variable: &str, value: &OsStr) -> bool {
    let address = |v: &str| ["tcp://", "udp://", "sctp://"].iter().any(|it| v.starts_with(it));
    variable.starts_with("BROKER_SERVICE_")
        || variable.starts_with("BROKER_PORT_")
        || (variable.ends_with("_PORT") && value.to_str().is_some_and(address))
}
