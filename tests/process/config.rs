//! What the command line prints and refuses, pinned in `cmd/`, and the shipped configuration and
//! its manual against the settings themselves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use broker::config::{Config, Settings};
use clap::Args as _;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A setting as `--help` shows it.
struct Setting {
    name: String,
    heading: String,
    /// The first line of its help, without the default.
    meaning: String,
    /// The rest of its help.
    details: String,
    default: String,
    /// The values it may have, if these are few.
    values: Vec<String>,
}

fn settings() -> Vec<Setting> {
    let command = Settings::augment_args(clap::Command::new("broker"));
    let setting = |arg: &clap::Arg| {
        let help = arg.get_help()?.to_string();
        let (meaning, default) = help.split_once(" [default: ").unwrap_or((&help, ""));
        let all = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
        let details = all.split_once("\n\n").map_or("", |(_, details)| details);
        let values = arg.get_possible_values();
        let values = values.iter().map(|value| value.get_name().to_owned());
        Some(Setting {
            name: arg.get_long()?.to_owned(),
            heading: arg.get_help_heading()?.to_owned(),
            meaning: meaning.to_owned(),
            details: details.replace('\n', " "),
            default: default.trim_end_matches(']').to_owned(),
            values: values.filter(|name| !["true", "false"].contains(&name.as_str())).collect(),
        })
    };
    command.get_arguments().filter_map(setting).collect()
}

impl Setting {
    /// Whether a file may have it.
    fn is_in_files(&self) -> bool {
        !["config", "print-config"].contains(&self.name.as_str())
    }

    /// Its help as sentences.
    fn text(&self) -> String {
        let values = match self.values.as_slice() {
            [] => String::new(),
            values => format!(" One of {}.", values.join(", ")),
        };
        let details =
            if self.details.is_empty() { String::new() } else { format!(" {}", self.details) };
        format!("{}.{details}{values}", self.meaning)
    }

    /// Its row in the manual.
    fn row(&self) -> String {
        let default = match self.default.as_str() {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let see = SEE.iter().find(|(name, _)| *name == self.name);
        let see = see.map_or(String::new(), |(_, link)| format!(" See [{}]({link}).", page(link)));
        format!("| `--{}` | {default} | {}{see} |\n", self.name, quoted(&self.text()))
    }

    /// Its comment in the shipped file.
    fn comment(&self) -> String {
        let mut lines = vec![String::from("#")];
        for word in self.text().split(' ') {
            if lines.last().unwrap().chars().count() + 1 + word.chars().count() > 100 {
                lines.push(String::from("#"));
            }
            let line = lines.last_mut().unwrap();
            line.push(' ');
            line.push_str(word);
        }
        lines.join("\n") + "\n"
    }
}

/// Where the manual has more about a setting.
const SEE: [(&str, &str); 6] = [
    ("tls-cert", "DEPLOYMENT.md#tls"),
    ("allowed-origins", "AUTHENTICATION.md#origins"),
    ("presence-fetch-url", "PRESENCE.md#presence-lookups"),
    ("redis-tls-ca-cert-path", "CLUSTER.md#redis"),
    ("state-dir", "RELIABILITY.md#what-survives-a-restart"),
    ("dashboard", "DASHBOARD.md"),
];

fn page(link: &str) -> &str {
    link.split('#').next().unwrap()
}

/// The flags in a text as code.
fn quoted(text: &str) -> String {
    let word = |word: &str| {
        let flag = word.trim_end_matches(['.', ',', ';', ':']);
        if flag.starts_with("--") {
            word.replacen(flag, &format!("`{flag}`"), 1)
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The settings of each heading.
fn sections(settings: &[Setting]) -> Vec<(&str, Vec<&Setting>)> {
    let mut sections: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in settings {
        match sections.iter_mut().find(|(heading, _)| *heading == setting.heading) {
            Some((_, members)) => members.push(setting),
            None => sections.push((&setting.heading, vec![setting])),
        }
    }
    sections
}

/// Compares a file with what it should be, or makes it that.
fn check(file: &str, expected: &str) {
    let text = std::fs::read_to_string(shipped(file)).unwrap();
    if text == expected {
        return;
    }
    if std::env::var("TRYCMD").is_ok_and(|it| it == "overwrite") {
        std::fs::write(shipped(file), expected).unwrap();
        return;
    }
    let differs = expected.lines().zip(text.lines()).find(|(expected, is)| expected != is);
    panic!("{file} isn't what --help says; write it with TRYCMD=overwrite. First: {differs:#?}");
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
fn the_shipped_file_says_what_the_help_says() {
    let file = "config/broker.toml";
    let text = std::fs::read_to_string(shipped(file)).unwrap();
    let mut expected = text.split("\n# --- ").next().unwrap().to_owned();
    let settings = settings();
    for (heading, settings) in sections(&settings) {
        let settings: Vec<_> = settings.into_iter().filter(|it| it.is_in_files()).collect();
        if settings.is_empty() {
            continue;
        }
        writeln!(expected, "\n# --- {heading} ---").unwrap();
        for setting in settings {
            let name = &setting.name;
            let key = if setting.default.is_empty() {
                format!("# {name} = ")
            } else {
                format!("{name} = ")
            };
            let line = text.lines().find(|line| line.starts_with(&key));
            let line = line.unwrap_or_else(|| panic!("{file} has no line `{key}…`"));
            writeln!(expected, "\n{}{line}", setting.comment()).unwrap();
        }
    }
    check(file, &expected);
}

#[test]
fn what_the_shipped_file_comments_out_can_be_used() {
    let text = std::fs::read_to_string(shipped("config/broker.toml")).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
        let names_a_setting = |setting: &Setting| {
            line.strip_prefix(setting.name.as_str()).is_some_and(|rest| rest.starts_with(" = "))
        };
        if settings().iter().any(names_a_setting) {
            assert!(toml::from_str::<Settings>(line).is_ok(), "{line}");
        }
    }
}

#[test]
fn the_manual_says_what_the_help_says() {
    let file = "docs/CONFIGURATION.md";
    let mut text = std::fs::read_to_string(shipped(file)).unwrap();
    let settings = settings();
    for (heading, settings) in sections(&settings) {
        let start = format!("\n### {heading}\n\n");
        let rows: String = settings.iter().map(|setting| setting.row()).collect();
        let table = format!("{start}| flag | default | meaning |\n|---|---|---|\n{rows}");
        let at = text.find(&start).unwrap_or_else(|| panic!("{file} has no heading {heading:?}"));
        let (before, rest) = text.split_at(at);
        let after = rest.strip_prefix(&start).and_then(|rest| rest.split_once("\n\n"));
        let (_, after) = after.expect("the end of the table");
        text = format!("{before}{table}\n{after}");
    }
    check(file, &text);
}
