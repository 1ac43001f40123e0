//! Clients that ask, one question at a time.

use std::time::Duration;

use serde::Serialize;

use super::run::{Needs, Run};
use crate::args;
use crate::bench::{self, Bench};
use crate::client::{Joins, Plan};
use crate::clock;
use crate::commanders::{Asking, Commanders};
use crate::crowd::Crowd;
use crate::numbers::float;
use crate::received::Expected;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Commands {
    /// How many connections, each with one command under way
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many members a room has
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,

    #[command(flatten)]
    #[serde(flatten)]
    span: Loop,
}

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Churn {
    /// How many connections, each with one command under way
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many connections a room has
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,

    #[command(flatten)]
    #[serde(flatten)]
    span: Loop,
}

/// How long and how fast.
#[derive(Clone, Copy, Debug, clap::Args, Serialize)]
struct Loop {
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 5.0, value_parser = args::seconds)]
    seconds: f64,

    /// How long to send commands before that, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = args::seconds)]
    warmup: f64,

    /// Commands a second of all connections together; without it, as many as are answered
    #[arg(long, value_parser = args::rate)]
    command_rate: Option<f64>,
}

impl Run for Commands {
    const NAME: &'static str = "commands";

    fn needs(&self) -> Needs {
        Needs { connections: self.connections, presence: true, publishers: 0, size: 0 }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let rooms = rooms(self.connections, self.members, 0);
        self.span.run(bench, Asking::Lists, &rooms)
    }
}

impl Run for Churn {
    const NAME: &'static str = "churn";

    fn needs(&self) -> Needs {
        Needs { connections: self.connections, presence: true, publishers: 0, size: 0 }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let rooms = rooms(self.connections, self.members, 0);
        self.span.run(bench, Asking::JoinsAndLeaves, &rooms)
    }
}

/// The room of each connection.
pub(super) fn rooms(connections: u32, members: u32, first: u32) -> Vec<u32> {
    (0..connections).map(|number| first + number / members).collect()
}

/// What the connections do before they begin.
pub(super) fn plans(asking: Asking, rooms: &[u32]) -> Vec<Plan> {
    // the others join as they go
    let joins = if asking == Asking::Lists { Joins::Told } else { Joins::No };
    rooms.iter().map(|room| Plan { streams: Box::from([*room]), joins }).collect()
}

/// What to look for first.
pub(super) fn expected(asking: Asking) -> Expected {
    match asking {
        Asking::Lists => Expected::Lists,
        Asking::JoinsAndLeaves => Expected::Joins,
    }
}

impl Loop {
    fn run(self, bench: &mut Bench, asking: Asking, rooms: &[u32]) -> anyhow::Result<()> {
        let cable = bench.crowd.state.cable.clone();
        let mut commanders = Commanders::new(asking, rooms, &cable, self.command_rate);
        bench.crowd.expect(Expected::Joins);
        bench.open(plans(asking, rooms), &mut commanders)?;
        bench.crowd.expect(expected(asking));

        let progress = bench::progress("commands", 0);
        let begun = clock::now();
        let warm = begun + clock::seconds(self.warmup);
        let end = warm + clock::seconds(self.seconds);
        commanders.start(&mut bench.crowd, end);
        go_on(&mut bench.crowd, &mut commanders, warm)?;
        bench.crowd.check()?;
        commanders.measure(clock::now());
        let begun = bench.meter.begin()?;
        go_on(&mut bench.crowd, &mut commanders, end)?;
        let pending = commanders.pending();
        let before = commanders.answered;
        bench.wait("answers", pending, &mut commanders, |commanders, _| {
            commanders.answered - before
        })?;
        let span = bench.meter.end(&begun)?;
        progress.finish_and_clear();

        let trouble = bench.trouble();
        let report = &mut bench.report;
        report.count("connections", "connections", rooms.len() as u64);
        report.account("answers", commanders.sent, commanders.answered);
        report.trouble(trouble);
        report.count("commands_measured", "commands measured", commanders.measured);
        report.cost("", &span, Some(("command", commanders.measured)));
        let rate = float(commanders.measured) / span.seconds;
        report.number("commands_per_second", "commands a second", rate, "");
        report.latency("command", "answer to a command", &commanders.latency);
        Ok(())
    }
}

fn go_on(crowd: &mut Crowd, commanders: &mut Commanders, until: u64) -> anyhow::Result<()> {
    loop {
        let now = clock::now();
        if now >= until || crowd.check().is_err() {
            return Ok(());
        }
        let next = commanders.advance(crowd, now);
        let timeout = clock::until(next.min(until), now).min(Duration::from_millis(50));
        crowd.turn(timeout, commanders)?;
    }
}
