//! Errors of the command line, one sentence each: the flag or variable, the problem, what to do.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::command::command;
use crate::config::{ConfigError, nearest};

/// The sentence for the person who started the program.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}

/// Why the flags aren't accepted.
pub(super) fn flag(error: &clap::Error) -> Refusal {
    let flag = name(error).unwrap_or_else(|| "the command line".to_owned());
    let kind = error.kind();
    Refusal(if kind == ErrorKind::UnknownArgument {
        unknown(&flag)
    } else if kind == ErrorKind::ArgumentConflict {
        format!("{flag} is given more than once: keep one")
    } else if kind == ErrorKind::TooManyValues {
        format!("{flag} takes no value: leave out the = and what follows")
    } else if let Some(value) = value(error) {
        format!("{flag} {value}: {}", problem(error))
    } else if kind == ErrorKind::ValueValidation {
        format!("{flag} is empty: {}", problem(error))
    } else {
        format!("{flag} {}", problem(error))
    })
}

/// Why an environment variable's value isn't accepted.
pub(super) fn variable(variable: &str, error: &clap::Error) -> Refusal {
    Refusal(match value(error) {
        Some(value) => format!("{variable}={value}: {}", problem(error)),
        None => format!("{variable} {}", problem(error)),
    })
}

fn problem(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidUtf8, _) => "is not valid UTF-8".to_owned(),
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid)))
            if value(error).is_some() && !valid.is_empty() =>
        {
            format!("not one of {}", valid.join(", "))
        }
        (ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues, _) => {
            "needs a value: see `broker --help`".to_owned()
        }
        (kind, _) => {
            format!("can't be read ({}): see `broker --help`", kind.as_str().unwrap_or("malformed"))
        }
    }
}

fn unknown(flag: &str) -> String {
    if flag.starts_with('-') && !flag.starts_with("--") {
        return format!("{flag} is not a flag: see `broker --help` for those there are");
    }
    let Some(name) = flag.strip_prefix("--") else {
        return format!(
            "`{flag}` is not expected here: values are written --flag VALUE or --flag=VALUE"
        );
    };
    let command = command();
    let names = command.get_arguments().filter_map(clap::Arg::get_long).chain(["help", "version"]);
    match nearest(&name.replace('_', "-"), names) {
        Some(similar) => format!("{flag} is not a flag: did you mean --{similar}?"),
        None => format!("{flag} is not a flag: see `broker --help` for those there are"),
    }
}

/// `--port`, from clap's `--port <PORT>`.
fn name(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else { return None };
    usage.split(['=', ' ', '[']).next().map(str::to_owned)
}

/// The given value, if there was one.
fn value(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if !value.is_empty() => Some(value),
        Some(_) | None => None,
    }
}
