//! Members who vanish.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::run::{Needs, Run};
use crate::args;
use crate::bench::{self, Bench};
use crate::client::{Client, Joins, Plan};
use crate::clock;
use crate::crowd::Listener;
use crate::latency;
use crate::numbers::float;
use crate::paced::Paced;
use crate::received::{Classifier, Expected, Received};

/// Rooms that one watcher follows.
const ROOMS_OF_A_WATCHER: usize = 500;

/// Connections closed before the others have their turn.
const AT_ONCE: u32 = 64;

/// A server works before its first leave arrives: publications so many nanoseconds before count, too.
const LEAD: u64 = 100_000_000;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Expire {
    /// How many connections vanish
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many rooms each of them is in
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rooms_per_connection: u32,

    /// How many members a room has, about
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,

    /// How many connections get the publications
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    listeners: u32,

    /// Publications a second
    #[arg(long, default_value_t = 100.0, value_parser = args::rate)]
    rate: f64,

    /// How long to publish before anything is closed, in seconds
    #[arg(long, default_value_t = 3.0, value_parser = args::seconds)]
    before: f64,

    /// How long the first leave may take, in seconds: more than the server's TTL
    #[arg(long, default_value_t = 60.0, value_parser = args::seconds)]
    ttl: f64,

    /// Bytes of a publication's data
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    size: u32,

    /// HTTP connections that publish
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
}

impl Expire {
    fn rooms(&self) -> u32 {
        let records = u64::from(self.connections) * u64::from(self.rooms_per_connection);
        let rooms = records.div_ceil(u64::from(self.members));
        let rooms = rooms.max(u64::from(self.rooms_per_connection));
        u32::try_from(rooms).unwrap_or(u32::MAX)
    }

    /// Each connection's rooms are spread evenly, so that no two have all of theirs in common.
    fn members(&self) -> Vec<Plan> {
        let rooms = self.rooms();
        let apart = rooms / self.rooms_per_connection;
        let plan = |number: u32| {
            let first = number % rooms;
            let room = |place: u32| (first + place * apart) % rooms;
            Plan { streams: (0..self.rooms_per_connection).map(room).collect(), joins: Joins::Told }
        };
        (0..self.connections).map(plan).collect()
    }

    fn watchers(&self) -> Vec<Plan> {
        let rooms: Vec<u32> = (0..self.rooms()).collect();
        let plan = |rooms: &[u32]| Plan { streams: Box::from(rooms), joins: Joins::No };
        rooms.chunks(ROOMS_OF_A_WATCHER).map(plan).collect()
    }
}

impl Run for Expire {
    const NAME: &'static str = "expire";

    fn needs(&self) -> Needs {
        let Self { publishers, size, .. } = *self;
        let watchers = u32::try_from(self.watchers().len()).unwrap_or(u32::MAX);
        let connections = self.connections.saturating_add(self.listeners).saturating_add(watchers);
        Needs { connections, presence: true, publishers, size }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let before = bench.meter.memory()?;
        let (members, watchers) = (self.members(), self.watchers());
        let records = members.iter().map(|plan| plan.streams.len() as u64).sum();
        let other = self.rooms(); // the stream of the publications
        let listening = Plan { streams: Box::from([other]), joins: Joins::No };
        let listening = vec![listening; self.listeners as usize];
        let mut expiry = Expiry::default();
        bench.crowd.expect(Expected::Joins);
        bench.open(members, &mut expiry)?;
        bench.open(watchers, &mut expiry)?;
        bench.open(listening, &mut expiry)?;
        bench.crowd.expect(Expected::Publications);
        let joined = bench.meter.memory()?;

        let mut paced = Paced::to(other, u64::from(self.listeners), self.rate);
        paced.begin(clock::now());
        let quiet = clock::now();
        let close = quiet + clock::seconds(self.before);
        go_on(bench, &mut expiry, &mut paced, close)?;

        bench.meter.watch_peak()?;
        let begun = bench.meter.begin()?;
        bench.crowd.expect(Expected::Leaves);
        let closing = clock::now();
        for number in 0..self.connections {
            bench.crowd.vanish(number as usize);
            if number % AT_ONCE == 0 {
                paced.publish_due(bench, clock::now())?;
                bench.crowd.turn(Duration::ZERO, &mut expiry)?;
            }
        }
        let closed = clock::now();
        self.await_leaves(bench, &mut expiry, &mut paced, records)?;
        let span = bench.meter.end(&begun)?;
        let peak = bench.meter.peak()?;
        go_on(bench, &mut expiry, &mut paced, clock::now() + clock::seconds(0.5))?;
        Paced::drain(bench, &mut expiry, Expiry::deliveries)?;

        let trouble = bench.trouble();
        let after = bench.meter.memory()?;
        let (report, publishers) = (&mut bench.report, &bench.crowd.publishers);
        report.count("connections", "connections that vanish", u64::from(self.connections));
        report.count("rooms", "rooms", u64::from(other));
        report.count("records", "records of members", records);
        report.growth("record", records, before, joined);
        report.account("leaves", records, expiry.leaves);
        report.account("publications", publishers.sent(), publishers.accepted);
        report.account("deliveries", publishers.expected, expiry.deliveries());
        report.trouble(trouble);
        let since = |then: u64| float(then.saturating_sub(closing)) / 1e9;
        report.number("closing_duration_s", "closing the sockets took", since(closed), "s");
        report.number(
            "first_leave_s",
            "first leave, since the first was closed",
            since(expiry.first),
            "s",
        );
        report.number("last_leave_s", "last leave", since(expiry.last), "s");
        let between = since(expiry.last) - since(expiry.first);
        report.number("leaves_duration_s", "from the first leave to the last", between, "s");
        report.cost("", &span, Some(("leave", expiry.leaves)));
        report.latency("before", "delivery before", &expiry.between(quiet, closing));
        report.latency(
            "closing",
            "delivery while sockets are closed",
            &expiry.between(closing, closed),
        );
        let first = expiry.first.saturating_sub(LEAD);
        report.latency(
            "expiry",
            "delivery while members leave",
            &expiry.between(first, expiry.last),
        );
        if let (Some(peak), Some(after)) = (peak, after) {
            report.memory("server_memory_peak", "server memory, the most", peak);
            report.memory("server_memory_end", "server memory, behind it", after.now);
        }
        Ok(())
    }
}

impl Expire {
    /// Goes on until all have left, or nobody leaves any more.
    fn await_leaves(
        &self,
        bench: &mut Bench,
        expiry: &mut Expiry,
        paced: &mut Paced,
        records: u64,
    ) -> anyhow::Result<()> {
        let progress = bench::progress("leaves", records);
        let mut deadline = clock::now() + clock::seconds(self.ttl);
        let mut seen = expiry.leaves;
        while expiry.leaves < records && clock::now() < deadline && bench.crowd.check().is_ok() {
            go_on(bench, expiry, paced, clock::now() + clock::seconds(0.05))?;
            if expiry.leaves != seen {
                seen = expiry.leaves;
                progress.set_position(seen);
                deadline = clock::now() + clock::nanoseconds(bench.patience);
            }
        }
        progress.finish_and_clear();
        Ok(())
    }
}

/// Publishes until then.
fn go_on(
    bench: &mut Bench,
    expiry: &mut Expiry,
    paced: &mut Paced,
    until: u64,
) -> anyhow::Result<()> {
    loop {
        let now = clock::now();
        if now >= until || bench.crowd.check().is_err() {
            return Ok(());
        }
        paced.publish_due(bench, now)?;
        bench.meter.sample(now)?;
        bench.crowd.turn(clock::until(paced.due().min(until), now), expiry)?;
    }
}

/// What watchers and listeners hear.
#[derive(Default)]
struct Expiry {
    leaves: u64,
    first: u64,
    last: u64,
    /// When each delivery was sent, and when it came.
    deliveries: Vec<(u64, u64)>,
}

impl Expiry {
    fn deliveries(&self) -> u64 {
        self.deliveries.len() as u64
    }

    /// Those that were on their way in a span.
    fn between(&self, from: u64, to: u64) -> Histogram<u64> {
        let mut histogram = latency::histogram();
        for (sent, came) in &self.deliveries {
            if *sent <= to && *came >= from {
                histogram.saturating_record(came.saturating_sub(*sent) / 1000);
            }
        }
        histogram
    }
}

impl Listener for Expiry {
    fn on_message(
        &mut self,
        _: &mut Client,
        received: Received,
        _: &[u8],
        now: u64,
        _: &Classifier,
    ) {
        match received {
            Received::Published(sent) => self.deliveries.push((sent, now)),
            Received::Left => {
                if self.leaves == 0 {
                    self.first = now;
                }
                self.leaves += 1;
                self.last = now;
            }
            Received::Joined
            | Received::Listed
            | Received::Refused
            | Received::Ping
            | Received::Welcome
            | Received::Confirmed
            | Received::Rejected
            | Received::Disconnect
            | Received::Other => {}
        }
    }
}
