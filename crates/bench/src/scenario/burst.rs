//! Publications back to back.

use std::time::Duration;

use serde::Serialize;

use super::run::{Needs, Run};
use crate::bench::{self, Bench};
use crate::client::Joins;
use crate::clock;
use crate::deliveries::Deliveries;
use crate::numbers::float;
use crate::paced::Paced;
use crate::plans;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Burst {
    /// How many connections
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many streams they spread over; more than connections give each several
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,

    /// How many publications
    #[arg(long, default_value_t = 1000)]
    count: u32,

    /// How many publications before that, which aren't measured
    #[arg(long, default_value_t = 100)]
    warmup: u32,

    /// Bytes of a publication's data
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    size: u32,

    /// HTTP connections that publish
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
}

impl Run for Burst {
    const NAME: &'static str = "burst";

    fn needs(&self) -> Needs {
        let Self { connections, publishers, size, .. } = *self;
        Needs { connections, presence: false, publishers, size }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let plans = plans::spread(self.connections, self.streams, Joins::No);
        let mut paced = Paced::new(plans::audiences(&plans, self.streams), 1.0);
        let mut deliveries = Deliveries::new();
        bench.open(plans, &mut deliveries)?;
        Self::publish(bench, &mut paced, &mut deliveries, self.warmup, "warming up")?;
        bench.crowd.check()?;

        bench.crowd.publishers.reset();
        deliveries.begin(clock::now());
        bench.meter.watch_peak()?;
        let begun = bench.meter.begin()?;
        Self::publish(bench, &mut paced, &mut deliveries, self.count, "publishing")?;
        let span = bench.meter.end(&begun)?;
        bench.pass(0.1, "looking for more", &mut deliveries)?;

        let trouble = bench.trouble();
        let peak = bench.meter.peak()?;
        let (report, publishers) = (&mut bench.report, &bench.crowd.publishers);
        report.count("connections", "connections", u64::from(self.connections));
        report.account("publications", publishers.sent(), publishers.accepted);
        report.account("deliveries", publishers.expected, deliveries.count);
        report.trouble(trouble);
        report.cost("", &span, Some(("delivery", deliveries.count)));
        let rate = float(deliveries.count) / span.seconds;
        report.number("deliveries_per_second", "deliveries a second", rate, "");
        report.latency("delivery", "delivery", &deliveries.latency);
        report.latency("publish", "answer to a publication", &publishers.latency);
        if let Some(peak) = peak {
            report.memory("server_memory_peak", "server memory, the most", peak);
        }
        Ok(())
    }
}

impl Burst {
    fn publish(
        bench: &mut Bench,
        paced: &mut Paced,
        deliveries: &mut Deliveries,
        count: u32,
        what: &'static str,
    ) -> anyhow::Result<()> {
        let progress = bench::progress(what, u64::from(count));
        let mut left = count;
        let (mut moved, mut seen) = (clock::now(), 0);
        while left > 0 && bench.crowd.check().is_ok() {
            for _ in 0..bench.crowd.publishers.free().min(left as usize) {
                bench.crowd.publishers.publish(paced.publication());
                left -= 1;
            }
            bench.crowd.turn(Duration::from_millis(50), deliveries)?;
            let (now, steps) = (clock::now(), bench.crowd.publishers.accepted + deliveries.count);
            bench.meter.sample(now)?;
            progress.set_position(u64::from(count - left));
            if steps != seen {
                (moved, seen) = (now, steps);
            } else if now - moved > clock::nanoseconds(bench.patience) {
                break; // what is missing is accounted for
            }
        }
        progress.finish_and_clear();
        Paced::drain(bench, deliveries, |deliveries| deliveries.count)
    }
}
