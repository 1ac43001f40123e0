//! The `broker` binary.

use std::io::Write as _;
use std::process::ExitCode;

use broker::cli::{self, Outcome};
use broker::config::Config;
use broker::{server, telemetry};

// Connections take a quarter more memory with glibc's (docs/PERFORMANCE.md). Linux only: the
// settings in .cargo/config.toml are invalid elsewhere.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cli::run(std::env::args_os(), std::env::vars_os()) {
        Outcome::Start(config, warnings) => start(*config, &warnings),
        Outcome::Print(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("failed to write to standard output: {error}"));
                ExitCode::FAILURE
            }
        },
        Outcome::Refuse(sentence) => {
            say(&sentence);
            ExitCode::from(cli::REFUSED)
        }
    }
}

/// Prints to the person who started the process, before logs are set up.
fn say(sentence: &str) {
    drop(writeln!(std::io::stderr(), "broker: {sentence}")); // nothing can be done about a failure
}

fn start(config: Config, warnings: &[String]) -> ExitCode {
    if let Err(error) = telemetry::logging::init(&config.log_level, config.log_format.into()) {
        say(&error.to_string());
        return ExitCode::FAILURE;
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let code = serve(config).unwrap_or_else(|error| {
        telemetry::logging::print(&format!("Error: {error:?}\n"));
        ExitCode::FAILURE
    });
    telemetry::logging::flush();
    code
}

fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(server::run(config));
    runtime.shutdown_background(); // what is left has had its time
    let refusal = match result {
        Ok(server::Ending::Stopped) => return Ok(ExitCode::SUCCESS),
        Ok(server::Ending::Lost(before)) => {
            telemetry::logging::flush();
            let error = before.begin();
            tracing::error!(%error, "this node can't begin again by itself: start it anew");
            return Ok(ExitCode::FAILURE);
        }
        Err(server::Error::Bind(error)) => error.to_string(),
        Err(server::Error::Config(error)) => error.to_string(),
        Err(server::Error::State(error)) => error.to_string(),
        Err(server::Error::Engine(error)) => error.to_string(),
        Err(error @ server::Error::Authorities(_)) => error.to_string(),
        Err(error) => return Err(error.into()),
    };
    telemetry::logging::print(&format!("broker: {refusal}\n"));
    Ok(ExitCode::from(cli::REFUSED))
}
