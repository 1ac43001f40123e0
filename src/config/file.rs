//! A TOML file → [`Settings`].
//!
//! The text is parsed once for the lines of the keys and once for their values. Each value is then
//! read by itself, so that errors can name line and key.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args as _;
use serde::Deserialize as _;
use toml::de::DeTable;

use super::error::ConfigError;
use super::nearest::nearest;
use super::settings::Settings;

impl Settings {
    /// Reads a configuration file.
    pub fn read_file(file: &Path) -> Result<Self, ConfigError> {
        read(file)
    }

    /// Parses a configuration file's text; errors refer to it as `file`.
    pub fn from_toml(file: &Path, text: &str) -> Result<Self, ConfigError> {
        parse(file, text)
    }
}

fn read(file: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
    parse(file, &text)
}

fn parse(file: &Path, text: &str) -> Result<Settings, ConfigError> {
    let syntax = |e: &toml::de::Error| ConfigError::Syntax {
        file: file.to_owned(),
        line: line_at(text, e.span().map_or(0, |span| span.start)),
        problem: e.message().replace('\n', ", "),
    };
    let lines: BTreeMap<String, usize> = DeTable::parse(text)
        .map_err(|e| syntax(&e))?
        .get_ref()
        .keys()
        .map(|key| (key.get_ref().clone().into_owned(), line_at(text, key.span().start)))
        .collect();
    let values: toml::Table = text.parse().map_err(|e| syntax(&e))?;

    let names = names();
    let mut settings = toml::Table::new();
    let mut in_order: Vec<_> = values.into_iter().collect();
    in_order.sort_by_key(|(key, _)| lines.get(key).copied());
    for (key, value) in in_order {
        let line = lines.get(&key).copied().unwrap_or(1);
        let name = key.replace('_', "-");
        if !names.contains(&name) {
            let hint = if value.is_table() {
                tabled(&name, &value, &names)
            } else {
                unknown(&name, &names)
            };
            return Err(ConfigError::UnknownKey { file: file.to_owned(), line, key, hint });
        }
        let problem =
            |problem: String| ConfigError::Value { file: file.to_owned(), line, key, problem };
        if settings.contains_key(&name) {
            return Err(problem("is given twice, once with - and once with _: keep one".into()));
        }
        let alone = toml::Table::from_iter([(name.clone(), value.clone())]);
        Settings::deserialize(alone).map_err(|e| problem(plain(e.message())))?;
        settings.insert(name, value);
    }
    Settings::deserialize(settings).map_err(|e| syntax(&e))
}

/// Allowed keys: all flags but `config` and `print-config`.
fn names() -> Vec<String> {
    let command = Settings::augment_args(clap::Command::new("broker"));
    let names = command.get_arguments().filter_map(clap::Arg::get_long);
    names.filter(|name| !matches!(*name, "config" | "print-config")).map(str::to_owned).collect()
}

fn unknown(name: &str, names: &[String]) -> String {
    if matches!(name, "config" | "print-config") {
        return "is for the command line only: leave it out of the file".to_owned();
    }
    match nearest(name, names.iter().map(String::as_str)) {
        Some(similar) => format!("is not a setting: did you mean `{similar}`?"),
        None => "is not a setting: see `broker --help` for those there are".to_owned(),
    }
}

/// Hint for a table: `ttl` in `[presence]` is written `presence-ttl`.
fn tabled(name: &str, table: &toml::Value, names: &[String]) -> String {
    let within = table.as_table().into_iter().flat_map(toml::Table::keys);
    let meant = within
        .flat_map(|key| [format!("{name}-{key}"), key.clone()])
        .map(|key| key.replace('_', "-"))
        .find(|key| names.contains(key));
    let example = meant.as_deref().unwrap_or("presence-ttl");
    format!(
        "is a table, and settings stand in none: write them above the first table by their whole \
         names, as `{example} = …`"
    )
}

/// Replaces the deserializer's type names in an error.
fn plain(message: &str) -> String {
    message
        .replace("expected u16", "expected a whole number from 0 to 65535")
        .replace("expected usize", "expected a whole number")
        .replace("expected a boolean", "expected true or false")
        .replace("expected path string", "expected a path in quotes")
        .replace("expected a string", "expected text in quotes")
        .replace('\n', " ")
        .trim()
        .to_owned()
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}
