//! What the command line prints and refuses, pinned in `cmd/`, and the shipped configuration and
//! its manual against the settings themselves.

use std::path::{Path, PathBuf};

use broker::config::{Config, Settings};
use clap::Args as _;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Each setting's name, its help's first line without the default, and the default.
fn settings() -> Vec<(String, String, String)> {
    let command = Settings::augment_args(clap::Command::new("broker"));
    command
        .get_arguments()
        .filter_map(|arg| {
            let help = arg.get_help()?.to_string();
            let (meaning, default) = help.split_once(" [default: ").unwrap_or((&help, ""));
            let default = default.trim_end_matches(']');
            Some((arg.get_long()?.to_owned(), meaning.to_owned(), default.to_owned()))
        })
        .collect()
}

#[test]
fn the_command_line_says_what_it_said() {
    trycmd::TestCases::new().case("tests/process/cmd/*.trycmd");
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let settings = Settings::read_file(&shipped("config/broker.toml")).unwrap();
    assert_eq!(Config::from_settings(settings).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_names_every_setting() {
    let text = std::fs::read_to_string(shipped("config/broker.toml")).unwrap();
    for (name, _, default) in settings() {
        if ["config", "print-config"].contains(&name.as_str()) {
            continue;
        }
        let line =
            if default.is_empty() { format!("\n# {name} = ") } else { format!("\n{name} = ") };
        assert!(text.contains(&line), "{name}");
    }
}

#[test]
fn what_the_shipped_file_comments_out_can_be_used() {
    let text = std::fs::read_to_string(shipped("config/broker.toml")).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
        let names_a_setting = |(name, ..): &(String, String, String)| {
            line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(" = "))
        };
        if settings().iter().any(names_a_setting) {
            assert!(toml::from_str::<Settings>(line).is_ok(), "{line}");
        }
    }
}

#[test]
fn the_manual_says_what_the_help_says() {
    let text = std::fs::read_to_string(shipped("docs/CONFIGURATION.md")).unwrap();
    for (name, meaning, default) in settings() {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let row = format!("| `--{name}` | {default} | {meaning}");
        assert!(text.contains(&row), "docs/CONFIGURATION.md has no row that starts with {row}");
    }
}
