//! Commands while there are broadcasts.

use std::time::Duration;

use serde::Serialize;

use super::commands::{expected, plans, rooms};
use super::run::{Needs, Run};
use crate::args;
use crate::bench::{self, Bench};
use crate::client::Joins;
use crate::clock;
use crate::commanders::{Asking, Commanders};
use crate::deliveries::Deliveries;
use crate::numbers::float;
use crate::paced::Paced;
use crate::received::Expected;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Mixed {
    /// How many connections get the publications
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many streams they spread over; more than connections give each several
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,

    /// Publications a second, of all streams together
    #[arg(long, default_value_t = 4.0, value_parser = args::rate)]
    rate: f64,

    /// How many connections send commands, each with one under way
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    commanders: u32,

    /// How many of them share a room
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,

    /// Commands a second of all of them together; without it, as many as are answered
    #[arg(long, value_parser = args::rate)]
    command_rate: Option<f64>,

    /// Join and leave instead of asking for the list
    #[arg(long)]
    churn: bool,

    /// How long to measure, in seconds
    #[arg(long, default_value_t = 10.0, value_parser = args::seconds)]
    seconds: f64,

    /// How long to do all that before, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = args::seconds)]
    warmup: f64,

    /// Bytes of a publication's data
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    size: u32,

    /// HTTP connections that publish
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
}

impl Run for Mixed {
    const NAME: &'static str = "mixed";

    fn needs(&self) -> Needs {
        let Self { publishers, size, .. } = *self;
        let connections = self.connections.saturating_add(self.commanders);
        Needs { connections, presence: true, publishers, size }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let asking = if self.churn { Asking::JoinsAndLeaves } else { Asking::Lists };
        let listening = crate::plans::spread(self.connections, self.streams, Joins::No);
        let mut paced = Paced::new(crate::plans::audiences(&listening, self.streams), self.rate);
        let mut deliveries = Deliveries::new();
        bench.open(listening, &mut deliveries)?;

        let rooms = rooms(self.commanders, self.members, self.streams);
        let mut crowd = bench.crowd.another()?;
        let cable = crowd.state.cable.clone();
        let mut commanders = Commanders::new(asking, &rooms, &cable, self.command_rate);
        crowd.expect(Expected::Joins);
        bench.open_in(&mut crowd, plans(asking, &rooms), &mut commanders)?;
        crowd.expect(expected(asking));

        let progress = bench::progress("publications and commands", 0);
        let warm = clock::now() + clock::seconds(self.warmup);
        let end = warm + clock::seconds(self.seconds);
        commanders.start(&mut crowd, end);
        paced.begin(clock::now());
        let mut begun = None;
        loop {
            let now = clock::now();
            let wrong = crowd.check().is_err() || bench.crowd.check().is_err();
            let over = wrong || now >= end;
            let late = now > end.saturating_add(clock::nanoseconds(bench.patience));
            if over && (wrong || late || commanders.pending() == 0) {
                break;
            }
            if now >= warm && begun.is_none() {
                bench.crowd.publishers.reset();
                deliveries.begin(now);
                commanders.measure(now);
                begun = Some(bench.meter.begin()?);
            }
            crowd.turn_all(&mut commanders)?;
            let mut next = commanders.advance(&mut crowd, now);
            if !over {
                paced.publish_due(bench, now)?;
                next = next.min(paced.due());
            }
            let timeout = clock::until(next, now).min(Duration::from_millis(50));
            bench.crowd.turn(timeout, &mut deliveries)?;
        }
        Paced::drain(bench, &mut deliveries, |deliveries| deliveries.count)?;
        progress.finish_and_clear();
        let Some(begun) = begun else { anyhow::bail!(trouble(bench, &crowd).unwrap_or_default()) };
        let span = bench.meter.end(&begun)?;

        let trouble = trouble(bench, &crowd);
        let (report, publishers) = (&mut bench.report, &bench.crowd.publishers);
        report.count("connections", "connections", u64::from(self.connections));
        report.count("commanders", "connections that send commands", u64::from(self.commanders));
        report.account("publications", publishers.sent(), publishers.accepted);
        report.account("deliveries", publishers.expected, deliveries.count);
        report.account("answers", commanders.sent, commanders.answered);
        report.trouble(trouble);
        report.cost("", &span, None);
        let rate = float(commanders.measured) / span.seconds;
        report.number("commands_per_second", "commands a second", rate, "");
        report.latency("command", "answer to a command", &commanders.latency);
        report.latency("delivery", "delivery", &deliveries.latency);
        report.latency("publish", "answer to a publication", &publishers.latency);
        Ok(())
    }
}

fn trouble(bench: &Bench, crowd: &crate::crowd::Crowd) -> Option<String> {
    let other = || crowd.check().err().map(|trouble| trouble.to_string());
    bench.trouble().or_else(other)
}
