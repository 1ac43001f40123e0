//! Everybody joins at once.

use std::time::Duration;

use serde::Serialize;

use super::run::{Needs, Run};
use crate::bench::Bench;
use crate::client::{self, Client};
use crate::crowd::Listener;
use crate::numbers::float;
use crate::plans;
use crate::received::{Classifier, Expected, Received};

/// Joins written before what has come is read.
const AT_ONCE: usize = 64;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Storm {
    /// How many connections
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many rooms they spread over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
}

impl Run for Storm {
    const NAME: &'static str = "storm";

    fn needs(&self) -> Needs {
        Needs { connections: self.connections, presence: true, publishers: 0, size: 0 }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let before = bench.meter.memory()?;
        let streams = self.streams.min(self.connections);
        let plans = plans::spread(self.connections, streams, client::Joins::No);
        let audiences = plans::audiences(&plans, streams);
        let expected = audiences.iter().map(|audience| audience * audience).sum();
        let mut joins = Joins::default();
        bench.open(plans, &mut joins)?;
        bench.crowd.expect(Expected::Joins);
        bench.pass(1.0, "settling", &mut joins)?;

        let subscribed = bench.meter.memory()?;
        bench.meter.watch_peak()?;
        let begun = bench.meter.begin()?;
        for number in 0..self.connections as usize {
            if let Some((client, cable)) = bench.crowd.client(number) {
                let command = cable.join(client.stream(), client.number);
                client.send(&command);
            }
            if number % AT_ONCE == 0 {
                bench.crowd.turn(Duration::ZERO, &mut joins)?;
            }
        }
        bench.wait("joins", expected, &mut joins, |joins, _| joins.count)?;
        let span = bench.meter.end(&begun)?;
        let peak = bench.meter.peak()?;
        bench.pass(0.2, "looking for more", &mut joins)?;

        let trouble = bench.trouble();
        let after = bench.meter.memory()?;
        let report = &mut bench.report;
        let connections = u64::from(self.connections);
        report.count("connections", "connections", connections);
        report.account("events", expected, joins.count);
        report.trouble(trouble);
        report.cost("", &span, Some(("event", joins.count)));
        report.number(
            "events_per_second",
            "events a second",
            float(joins.count) / span.seconds,
            "",
        );
        report.growth("connection", connections, before, subscribed);
        if let (Some(peak), Some(after)) = (peak, after) {
            report.memory("server_memory_peak", "server memory, the most", peak);
            report.memory("server_memory_end", "server memory, behind it", after.now);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Joins {
    count: u64,
}

impl Listener for Joins {
    fn on_message(&mut self, _: &mut Client, received: Received, _: &[u8], _: u64, _: &Classifier) {
        self.count += u64::from(received == Received::Joined);
    }
}
