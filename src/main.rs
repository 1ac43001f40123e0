//! The `broker` binary.

use std::io::Write as _;
use std::process::ExitCode;

use broker::cli::{self, Outcome};
use broker::config::Config;
use broker::{server, telemetry};

// A connection takes a quarter more with glibc's (docs/PERFORMANCE.md). On Linux only, for as it is set up in
// .cargo/config.toml it starts nowhere else.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<ExitCode> {
    match cli::run(std::env::args_os(), std::env::vars_os()) {
        Outcome::Start(config, warnings) => {
            telemetry::logging::init(&config.log_level, config.log_format.into())?;
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            serve(*config)
        }
        Outcome::Print(text) => {
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Refuse(sentence) => refuse(&sentence),
    }
}

fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(server::run(config));
    runtime.shutdown_background(); // whatever is left has had its time
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(server::Error::Bind(error)) => refuse(&error.to_string()),
        Err(server::Error::Config(error)) => refuse(&error.to_string()),
        Err(server::Error::State(error)) => refuse(&error.to_string()),
        Err(error) => Err(error.into()),
    }
}

/// The one sentence for a configuration that can't be followed.
fn refuse(sentence: &str) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stderr(), "broker: {sentence}")?;
    Ok(ExitCode::from(cli::REFUSED))
}
