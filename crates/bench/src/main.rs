//! `broker-bench`: what an Action Cable server costs, and what it takes.
//!
//! One thread serves all connections with one poll ([`crowd`]); each has no buffer of its own
//! ([`client`]), and messages are classified by a marker, without reading JSON ([`received`]). So the
//! program costs little beside the server it measures, whose CPU time and memory are read from `/proc`
//! ([`server_process`]). The scenarios are in [`scenario`].
//!
//! It knows nothing of the broker it is built with, so that it is as good for any other server.

mod action_cable;
mod args;
mod bare;
mod bench;
mod client;
mod clock;
mod commanders;
mod crowd;
mod deliveries;
mod frames;
mod handshake;
mod http;
mod latency;
mod meter;
mod numbers;
mod paced;
mod pacer;
mod plans;
mod publisher;
mod received;
mod report;
mod scenario;
mod server_process;
mod target;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use serde::Serialize;

use crate::action_cable::ActionCable;
use crate::bench::Bench;
use crate::crowd::Crowd;
use crate::meter::Meter;
use crate::publisher::{Endpoint, Publishers};
use crate::report::{Circumstances, Report};
use crate::scenario::{Command, Run, Scenario};
use crate::server_process::Processes;

/// Measures what an Action Cable server costs
///
/// Each scenario opens its own connections to a server that runs already, puts one kind of load on it,
/// and tells what that cost: the CPU time and the memory of the server's processes (--pid), and how long
/// things took. It works with any server that speaks Action Cable: the broker, AnyCable, Rails.
/// docs/BENCHMARK.md says exactly what is sent and counted, and what comparisons are fair.
#[derive(Debug, Parser)]
#[command(
    name = "broker-bench",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start a server, then:\n  \
        broker-bench idle --pid $(pidof broker)\n  \
        broker-bench fanout --pid $(pidof anycable-go) --url ws://127.0.0.1:8080/cable \\\n    \
        --publish-url http://127.0.0.1:8090/_broadcast\n\n\
        broker-bench SCENARIO --help explains a scenario and its figures.\n\
        Exit codes: 0 measured; 1 something was lost or went wrong; 2 the command line is wrong."
)]
struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

fn main() -> ExitCode {
    let args = Args::parse();
    clock::now(); // time begins
    let outcome = match args.scenario {
        Scenario::Idle(command) => run(&command),
        Scenario::Fanout(command) => run(&command),
        Scenario::Burst(command) => run(&command),
        Scenario::Storm(command) => run(&command),
        Scenario::Expire(command) => run(&command),
        Scenario::Commands(command) => run(&command),
        Scenario::Churn(command) => run(&command),
        Scenario::Mixed(command) => run(&command),
        Scenario::Records(command) => run(&command),
        Scenario::Cluster(command) => run(&command),
        Scenario::Rejoin(command) => run(&command),
        Scenario::Bare(bare) => bare.serve().map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run<T: Run + clap::Args + Serialize>(command: &Command<T>) -> anyhow::Result<ExitCode> {
    let Command { own, shared } = command;
    let needs = own.needs();
    let processes = Processes::new(shared.pid.clone())?;
    if processes.is_empty() {
        complain("no --pid was given, so the server's CPU time and memory aren't measured");
    }
    server_process::make_room((needs.connections + needs.publishers) as usize)?;
    let cable = ActionCable::new(&shared.identifier, &run_name()?)?;
    let handshake_options = shared.handshake_options(needs.presence);
    let servers = bench::servers(&shared.url, &handshake_options)?;
    let endpoint = Endpoint {
        urls: shared.publish_urls(),
        key: shared.publish_key.clone(),
        size: needs.size as usize,
    };
    let publishers = Publishers::new(endpoint, needs.publishers as usize);
    let process = processes.name();
    let mut bench = Bench {
        crowd: Crowd::new(servers, cable, publishers)?,
        urls: shared.url.clone(),
        handshake_options,
        meter: Meter::new(processes),
        report: Report::new(T::NAME, serde_json::to_value(command)?),
        patience: shared.patience(),
        at_once: shared.handshakes as usize,
    };
    if let Err(error) = own.run(&mut bench) {
        bench.report.trouble(Some(format!("{error:#}")));
    }

    let urls: Vec<_> = shared.url.iter().map(|url| format!("ws://{url}")).collect();
    let circumstances = Circumstances {
        url: urls.join(", "),
        server: bench.crowd.state.server.clone(),
        process,
        command: std::env::args().collect(),
    };
    let text = if shared.json {
        format!("{}\n", bench.report.json(&circumstances))
    } else if bench.report.is_empty() {
        String::new()
    } else {
        bench.report.table(&circumstances)
    };
    std::io::stdout().write_all(text.as_bytes()).context("stdout can't be written to")?;
    match bench.report.problem() {
        Some(problem) => {
            complain(&problem);
            Ok(ExitCode::FAILURE)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// A name no other run has.
fn run_name() -> anyhow::Result<String> {
    let number = getrandom::u32().context("the system gave no random numbers")?;
    Ok(format!("{number:08x}"))
}

fn complain(sentence: &str) {
    drop(writeln!(std::io::stderr(), "broker-bench: {sentence}"));
}
