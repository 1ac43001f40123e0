//! The command: its flags and its help.

use clap::{Args as _, Command};

use crate::config::Settings;

/// Maximum width of `--help`.
const HELP_WIDTH: usize = 100;

const ABOUT: &str =
    "Holds an application's WebSockets, the streams they follow, and who is present";

const EXAMPLES: &str = "\
Examples:
  broker
      serves this machine alone: sockets at ws://127.0.0.1:8080/cable
  broker --presence-ttl 30s --log-level debug
      keeps a member for 30 seconds after the connection ended
  BROKER_SECRET=... broker --host 0.0.0.0
      serves whoever has a token signed with the secret
  broker --config broker.toml --print-config
      shows what a file, the environment and the flags make together

Durations are written 15s, 2m 30s, 500ms or as bare seconds; sizes 64KiB, 1MiB or as bare bytes.
Flags win over BROKER_ variables, those over the file, the file over the defaults.
AnyCable's spellings work too: --presence_ttl=15, ANYCABLE_PRESENCE_TTL=15.";

/// The command with [`Settings`] as flags. The variables' names are for `--help` only; the command
/// reads no environment.
pub(super) fn command() -> Command {
    let command = Command::new("broker")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("See `broker --help` for details.")
        .after_long_help(EXAMPLES)
        .max_term_width(HELP_WIDTH);
    Settings::augment_args(command)
        .about(ABOUT)
        .long_about(None)
        .mut_args(|arg| arg.hide_env_values(true))
}

/// The command without variables.
pub(super) fn flags_only() -> Command {
    command().mut_args(|arg| arg.env(None::<&'static str>))
}

/// The help. The short one omits the variables: each is the flag's name prefixed with `BROKER_`.
pub(super) fn help(short: bool) -> String {
    let mut command = command().mut_args(|arg| arg.hide_env(short));
    if short { command.render_help().to_string() } else { command.render_long_help().to_string() }
}
