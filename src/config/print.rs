//! [`Config`] → TOML that `--config` reads back.
//!
//! Settings are written in the order of `--help`. Unset ones and secrets, which aren't shown, are
//! comments.

use std::fmt::Write as _;

use clap::Args as _;

use super::config::Config;
use super::secret_settings::SecretSetting;
use super::settings::Settings;

impl Config {
    /// The configuration as a file for `--config`, without secrets.
    pub fn to_toml(&self) -> String {
        toml(self)
    }
}

fn toml(config: &Config) -> String {
    let mut settings = config.to_settings();
    let values = toml::Table::try_from(&settings).unwrap_or_default();
    let command = Settings::augment_args(clap::Command::new("broker"));
    let mut text = String::from("# The configuration in use. Save it and pass it as --config.\n");
    let mut last_heading = None;
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long() else { continue };
        if matches!(name, "config" | "print-config") {
            continue;
        }
        let heading = arg.get_help_heading();
        if heading != last_heading {
            line(&mut text, format_args!("\n# {}", heading.unwrap_or_default()));
            last_heading = heading;
        }
        let is_hidden = |(secret, given, _): &SecretSetting<'_>| *secret == name && given.is_some();
        match (values.get(name), settings.secrets().iter().find(|secret| is_hidden(secret))) {
            (Some(value), _) => line(&mut text, format_args!("{name} = {value}")),
            (None, Some(_)) => {
                let env = name.to_uppercase().replace('-', "_");
                line(
                    &mut text,
                    format_args!(
                        "# {name} is set and not shown: pass it by BROKER_{env} or --{name}-file"
                    ),
                );
            }
            (None, None) => line(&mut text, format_args!("# {name} is not set")),
        }
    }
    text
}

/// Writing to a string can't fail.
fn line(text: &mut String, args: std::fmt::Arguments<'_>) {
    writeln!(text, "{args}").unwrap_or_default();
}
