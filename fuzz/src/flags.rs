//! The command line, an argument a line, and the environment, `BROKER_NAME=VALUE` a line.

use broker::cli::{Outcome, run as start};

use super::settings::{check_sentence, check_written};

pub fn run(data: &[u8]) {
    let Some(text) = super::text(data) else { return };
    let lower = text.to_ascii_lowercase();
    if lower.contains("config") || lower.contains("file") {
        return; // it would read whatever file that is
    }
    let is_variable = |line: &&str| line.starts_with("BROKER_") || line.starts_with("ANYCABLE_");
    let (variables, arguments): (Vec<&str>, Vec<&str>) = text.lines().partition(is_variable);
    let variables = variables.into_iter().filter_map(|line| line.split_once('='));
    let arguments = std::iter::once("broker").chain(arguments).map(Into::into);
    match start(arguments, variables.map(|(name, value)| (name.into(), value.into()))) {
        Outcome::Start(config, warnings) => {
            for warning in warnings {
                check_sentence(&warning);
            }
            let shown = config.to_toml();
            if !shown.contains("is set and not shown") {
                check_written(&config);
            }
        }
        Outcome::Print(text) => assert!(!text.is_empty()),
        Outcome::Refuse(sentence) => check_sentence(&sentence),
    }
}
