//! A node dies, and its members come back to the others.

use std::process;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::commands::rooms;
use super::run::{Needs, Run};
use crate::args;
use crate::bench::{self, Bench};
use crate::client::{Client, Joins, Plan, Stage};
use crate::clock;
use crate::crowd::{Crowd, Listener, Nobody};
use crate::latency;
use crate::numbers::{count, float};
use crate::received::{Classifier, Expected, Received};

/// Rooms that one watcher follows.
const ROOMS_OF_A_WATCHER: usize = 500;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Rejoin {
    /// How many connections the node has that dies
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How many of them share a room
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,

    /// The process of the first --url, which is killed
    #[arg(long, value_name = "PID")]
    #[serde(skip)]
    kill: Option<u32>,

    /// How long to watch afterwards whether anybody leaves, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = args::seconds)]
    after: f64,
}

impl Run for Rejoin {
    const NAME: &'static str = "rejoin";

    fn needs(&self) -> Needs {
        let connections = self.connections.saturating_add(self.connections / 100 + 64);
        Needs { connections, presence: true, publishers: 0, size: 0 }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let (first, others) = match bench.urls.split_first() {
            Some((first, others)) if !others.is_empty() => (first.clone(), others.to_vec()),
            Some(_) | None => bail!("its members have nowhere to go: name a second node by --url"),
        };
        let nobody = || bench.crowd.publishers.none();
        let mut dying = bench.crowd_of(&[first], nobody())?;
        let mut staying = bench.crowd_of(&others, nobody())?;
        let mut back = bench.crowd_of(&others, nobody())?;
        let rooms = rooms(self.connections, self.members, 0);
        let plans = |joins| rooms.iter().map(move |room| Plan { streams: [*room].into(), joins });

        dying.expect(Expected::Joins);
        staying.expect(Expected::Leaves);
        let mut watched = Watched::default();
        bench.open_in(&mut dying, plans(Joins::Told).collect(), &mut Nobody)?;
        bench.open_in(&mut staying, self.watchers(), &mut watched)?;
        staying.serve_until(clock::now() + clock::seconds(1.0), &mut watched)?;

        let begun = bench.meter.begin()?;
        let killed = clock::now();
        if let Some(pid) = self.kill {
            kill(pid)?;
        }
        await_end(&mut dying, bench.patience)?;
        let lost = clock::now();
        back.expect(Expected::Lists);
        let mut arrivals = Arrivals { killed, back: latency::histogram() };
        bench.open_in(&mut back, plans(Joins::Listed).collect(), &mut arrivals)?;
        let span = bench.meter.end(&begun)?;

        let progress = bench::progress("watching", 0);
        let end = clock::now() + clock::seconds(self.after);
        while clock::now() < end {
            back.serve_until(end.min(clock::now() + clock::seconds(0.1)), &mut arrivals)?;
            staying.turn_all(&mut watched)?;
            progress.tick();
        }
        progress.finish_and_clear();

        let trouble = back.check().and_then(|()| staying.check()).err();
        let report = &mut bench.report;
        let members = u64::from(self.connections);
        report.count("connections", "members whose node dies", members);
        report.account("members_back", members, arrivals.back.len());
        report.count("leaves", "members that watchers were told of as gone", watched.leaves);
        report.trouble(trouble.map(|trouble| trouble.to_string()));
        let lost = float(lost - killed) / 1e6;
        report.number("lost_max_ms", "last connection ended, since the kill", lost, "ms");
        report.latency("back", "back in the list, since the kill", &arrivals.back);
        report.cost("rejoin", &span, Some(("member", members)));
        Ok(())
    }
}

impl Rejoin {
    fn watchers(&self) -> Vec<Plan> {
        let rooms: Vec<u32> = (0..self.connections.div_ceil(self.members)).collect();
        let plan = |rooms: &[u32]| Plan { streams: rooms.into(), joins: Joins::No };
        rooms.chunks(ROOMS_OF_A_WATCHER).map(plan).collect()
    }
}

fn kill(pid: u32) -> anyhow::Result<()> {
    let killed = process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    if !killed.context("there is no command `kill`")?.success() {
        bail!("the process {pid} of --kill can't be killed: is it there, and whose is it?");
    }
    Ok(())
}

/// Waits until all connections have ended, which is no trouble here.
fn await_end(crowd: &mut Crowd, patience: Duration) -> anyhow::Result<()> {
    let begun = clock::now();
    let all = crowd.clients().len();
    let mut ended = 0;
    while ended < all {
        crowd.turn(Duration::from_millis(10), &mut Nobody)?;
        ended = crowd.state.gone;
        if clock::now() - begun > clock::nanoseconds(patience) {
            bail!(
                "only {} of {} connections of the first --url have ended: is --kill its process?",
                count(ended),
                count(all)
            );
        }
    }
    for client in crowd.clients() {
        client.vanish(); // frees its socket
    }
    Ok(())
}

/// When members are back.
struct Arrivals {
    killed: u64,
    back: Histogram<u64>,
}

impl Listener for Arrivals {
    fn on_message(
        &mut self,
        client: &mut Client,
        received: Received,
        _: &[u8],
        now: u64,
        _: &Classifier,
    ) {
        if received == Received::Listed && client.stage == Stage::Ready {
            self.back.saturating_record((now - self.killed) / 1000);
        }
    }
}

/// What watchers hear.
#[derive(Default)]
struct Watched {
    leaves: u64,
}

impl Listener for Watched {
    fn on_message(&mut self, _: &mut Client, received: Received, _: &[u8], _: u64, _: &Classifier) {
        self.leaves += u64::from(received == Received::Left);
    }
}
