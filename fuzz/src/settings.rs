//! A configuration file: it is refused with one sentence, or gives a configuration that can be written and
//! read back.

use std::path::Path;

use broker::config::{Config, ConfigError, Settings};

pub fn run(data: &[u8]) {
    let Some(text) = super::text(data) else { return };
    let mut settings = match read(text) {
        Ok(settings) => settings,
        Err(error) => return check_sentence(&error.to_string()),
    };
    let mut any_secret = false;
    for (_, secret, file) in settings.secrets() {
        *file = None; // whatever file that would be
        any_secret |= secret.is_some();
    }
    match Config::from_settings(settings) {
        Ok(config) if any_secret => drop(config.to_toml()), // which doesn't show it
        Ok(config) => check_written(&config),
        Err(error) => check_sentence(&error.to_string()),
    }
}

fn read(text: &str) -> Result<Settings, ConfigError> {
    Settings::from_toml(Path::new("broker.toml"), text)
}

/// What is written is read back as the same.
pub(crate) fn check_written(config: &Config) {
    let written = config.to_toml();
    let again = read(&written).and_then(Config::from_settings);
    let again = again.unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again, *config);
    drop(config.warnings());
}

/// A refusal is one line.
pub(crate) fn check_sentence(sentence: &str) {
    assert!(!sentence.trim().is_empty());
    assert!(!sentence.trim_end().contains('\n'), "{sentence:?}");
}
