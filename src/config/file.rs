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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{file, flags};
    use super::*;

    #[test]
    fn a_file_has_the_flags_names() {
        let settings = file(
            "port = 9\npresence_ttl = 20\nping-interval = 1.5\nmax_message_size = \"32KiB\"\n\
             public = true\nhost = \"0.0.0.0\"\nlog-format = \"json\"\nping-timestamp-precision = \"ms\"\n\
             broadcast-key = \"k\"\napi-key-file = \"/run/key\"\n",
        )
        .unwrap();
        let same = flags(&[
            "--port=9",
            "--presence-ttl=20s",
            "--ping-interval=1500ms",
            "--max-message-size=32768",
            "--public",
            "--host=0.0.0.0",
            "--log-format=json",
            "--ping-timestamp-precision=ms",
            "--broadcast-key=k",
            "--api-key-file=/run/key",
        ]);
        assert_eq!(settings, same);
        assert_eq!(file(""), Ok(Settings::default()));
    }

    #[test]
    fn a_bad_file_is_refused_with_line_and_key() {
        for (text, sentence) in [
            ("\n\nport =", "broker.toml, line 3: not TOML: "),
            ("port = 1\nport = 2", "broker.toml, line 2: not TOML: duplicate key"),
            (
                "ping-interval = 1\nping_interval = 2",
                "broker.toml, line 2: ping_interval: is given twice",
            ),
            (
                "\npresense-ttl = 1",
                "broker.toml, line 2: `presense-ttl` is not a setting: did you mean `presence-ttl`?",
            ),
            ("zzz = 1", "broker.toml, line 1: `zzz` is not a setting: see `broker --help`"),
            (
                "[presence]\nttl = '1s'",
                "broker.toml, line 1: `presence` is a table, and settings stand in none: write them above \
                 the first table by their whole names, as `presence-ttl = …`",
            ),
            ("a = 1\nserver.port = 1", "broker.toml, line 1: `a` is not a setting"),
            ("[server]\nport = 1", "broker.toml, line 1: `server` is a table, and"),
            ("config = 'x'", "broker.toml, line 1: `config` is for the command line only"),
            (
                "port = 'x'",
                "broker.toml, line 1: port: invalid type: string \"x\", expected a whole number from 0 to 65535",
            ),
            (
                "port = 70000",
                "broker.toml, line 1: port: invalid value: integer `70000`, expected a whole number from 0 to 65535",
            ),
            (
                "public = 1",
                "broker.toml, line 1: public: invalid type: integer `1`, expected true or false",
            ),
            ("presence-ttl = 'soon'", "broker.toml, line 1: presence-ttl: `soon`: not a duration"),
            ("presence-ttl = -1", "broker.toml, line 1: presence-ttl: `-1`: not a duration"),
            (
                "presence-ttl = []",
                "broker.toml, line 1: presence-ttl: invalid type: sequence, expected a duration",
            ),
            (
                "max-message-size = 1.5",
                "broker.toml, line 1: max-message-size: invalid type: floating point `1.5`, expected a size",
            ),
            ("host = 'example.com'", "broker.toml, line 1: host: `example.com`: not an IP address"),
            ("log-format = 'xml'", "broker.toml, line 1: log-format: unknown variant `xml`"),
            (
                "log-level = 1",
                "broker.toml, line 1: log-level: invalid type: integer `1`, expected text in quotes",
            ),
        ] {
            let refusal = file(text).unwrap_err();
            assert!(refusal.starts_with(sentence), "{refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "([a-z_-]{0,14} ?= ?[0-9a-z\"'\\[\\]. -]{0,8}\n?){0,4}") {
            drop(file(&text));
        }
    }
}
