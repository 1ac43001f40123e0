//! Connections that do nothing.

use serde::Serialize;

use super::run::{Needs, Run};
use crate::args;
use crate::bench::Bench;
use crate::client::Joins;
use crate::crowd::Nobody;
use crate::plans;
use crate::received::Expected;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Idle {
    /// How many connections
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many streams they spread over; more than connections give each several
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,

    /// Be present in the streams, too
    #[arg(long)]
    join: bool,

    /// How long to be idle, in seconds
    #[arg(long, default_value_t = 15.0, value_parser = args::seconds)]
    seconds: f64,

    /// How long to wait, in seconds, before memory is looked at
    #[arg(long, default_value_t = 3.0, value_parser = args::seconds)]
    settle: f64,
}

impl Run for Idle {
    const NAME: &'static str = "idle";

    fn needs(&self) -> Needs {
        Needs { connections: self.connections, presence: self.join, publishers: 0, size: 0 }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let before = bench.meter.memory()?;
        let begun = bench.meter.begin()?;
        bench.crowd.expect(Expected::Joins);
        let joins = if self.join { Joins::Told } else { Joins::No };
        bench.open(plans::spread(self.connections, self.streams, joins), &mut Nobody)?;
        let connect = bench.meter.end(&begun)?;

        bench.pass(self.settle, "settling", &mut Nobody)?;
        let after = bench.meter.memory()?;
        let pings = bench.crowd.state.pings;
        let begun = bench.meter.begin()?;
        bench.pass(self.seconds, "idle", &mut Nobody)?;
        let idle = bench.meter.end(&begun)?;
        let trouble = bench.trouble();

        let report = &mut bench.report;
        let connections = u64::from(self.connections);
        report.count("connections", "connections", connections);
        report.growth("connection", connections, before, after);
        report.cost("connect", &connect, Some(("connection", connections)));
        report.cost("idle", &idle, None);
        report.count("idle_pings", "idle: pings that came", bench.crowd.state.pings - pings);
        report.trouble(trouble);
        Ok(())
    }
}
