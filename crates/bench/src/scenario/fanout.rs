//! Publications at a pace.

use serde::Serialize;

use super::run::{Needs, Run};
use crate::args;
use crate::bench::Bench;
use crate::client::Joins;
use crate::clock;
use crate::deliveries::Deliveries;
use crate::numbers::float;
use crate::paced::Paced;
use crate::plans;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Fanout {
    /// How many connections
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many streams they spread over; more than connections give each several
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,

    /// Publications a second, of all streams together
    #[arg(long, default_value_t = 10.0, value_parser = args::rate)]
    rate: f64,

    /// How long to measure, in seconds
    #[arg(long, default_value_t = 10.0, value_parser = args::seconds)]
    seconds: f64,

    /// How long to publish before that, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = args::seconds)]
    warmup: f64,

    /// Bytes of a publication's data
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    size: u32,

    /// HTTP connections that publish
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
}

impl Run for Fanout {
    const NAME: &'static str = "fanout";

    fn needs(&self) -> Needs {
        let Self { connections, publishers, size, .. } = *self;
        Needs { connections, presence: false, publishers, size }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let plans = plans::spread(self.connections, self.streams, Joins::No);
        let mut paced = Paced::new(plans::audiences(&plans, self.streams), self.rate);
        let mut deliveries = Deliveries::new();
        bench.open(plans, &mut deliveries)?;
        paced.run(bench, &mut deliveries, self.warmup, "warming up")?;
        Paced::drain(bench, &mut deliveries, |deliveries| deliveries.count)?;
        bench.crowd.check()?;

        bench.crowd.publishers.reset();
        deliveries.begin(clock::now());
        let begun = bench.meter.begin()?;
        paced.run(bench, &mut deliveries, self.seconds, "publishing")?;
        Paced::drain(bench, &mut deliveries, |deliveries| deliveries.count)?;
        let span = bench.meter.end(&begun)?;
        bench.pass(0.1, "looking for more", &mut deliveries)?;

        let trouble = bench.trouble();
        let (report, publishers) = (&mut bench.report, &bench.crowd.publishers);
        report.count("connections", "connections", u64::from(self.connections));
        report.account("publications", publishers.sent(), publishers.accepted);
        report.account("deliveries", publishers.expected, deliveries.count);
        report.trouble(trouble);
        report.cost("", &span, Some(("delivery", deliveries.count)));
        report.latency("delivery", "delivery", &deliveries.latency);
        report.latency("publish", "answer to a publication", &publishers.latency);
        report.count("publications_late", "publications behind their time", paced.late());
        let rate = float(publishers.accepted) / span.seconds;
        report.number("publications_per_second", "publications a second", rate, "");
        Ok(())
    }
}
