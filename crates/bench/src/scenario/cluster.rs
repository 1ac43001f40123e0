//! Several nodes with an engine between them: what the way from one to another takes, and costs.

use std::time::Duration;

use anyhow::bail;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::commands::{plans, rooms};
use super::run::{Needs, Run};
use crate::args;
use crate::bench::{self, Bench};
use crate::client::{Client, Joins, Plan};
use crate::clock;
use crate::commanders::{Asking, Commanders};
use crate::crowd::{Crowd, Listener, Nobody};
use crate::latency;
use crate::meter::{Meter, Span};
use crate::numbers::{each, float};
use crate::paced::Paced;
use crate::received::{Classifier, Expected, Received};
use crate::report::Report;
use crate::server_process::{Cpu, Processes};
use crate::target::Url;

/// Streams that one watcher follows.
const STREAMS_OF_A_WATCHER: usize = 500;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Cluster {
    /// Publications a second, and then joins and leaves a second, of all nodes together
    #[arg(long, default_value_t = 5000.0, value_parser = args::rate)]
    rate: f64,

    /// How long to measure each, in seconds
    #[arg(long, default_value_t = 5.0, value_parser = args::seconds)]
    seconds: f64,

    /// How long to do the same before that, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = args::seconds)]
    warmup: f64,

    /// How long to measure what doing nothing costs, in seconds
    #[arg(long, default_value_t = 5.0, value_parser = args::seconds)]
    idle: f64,

    /// How many streams the publications go to
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,

    /// How many connections join and leave at the rate, each in a room of its own
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,

    /// How many connections join and leave as fast as they are told, each in a room of its own
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    flat_out: u32,

    /// Bytes of a publication's data
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    size: u32,

    /// HTTP connections that publish
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,

    /// A process of the engine, such as redis-server; may be given several times
    #[arg(long, value_name = "PID")]
    #[serde(skip)]
    engine_pid: Vec<u32>,

    /// A node that no client is connected to; may be given several times
    #[arg(long, value_name = "PID")]
    #[serde(skip)]
    bystander_pid: Vec<u32>,

    /// A server without an engine, to which the same is done first
    #[arg(long, value_name = "URL", value_parser = Url::websocket)]
    #[serde(skip)]
    alone: Option<Url>,

    /// Its process
    #[arg(long, value_name = "PID", requires = "alone")]
    #[serde(skip)]
    alone_pid: Option<u32>,
}

/// What is measured: nodes with the engine between them, or a server without.
struct Site {
    /// Stands before the figures.
    prefix: &'static str,
    urls: Vec<Url>,
    processes: [Group; 3],
}

/// Processes of one kind.
struct Group {
    name: &'static str,
    label: &'static str,
    processes: Processes,
}

/// How long it took until something was told, at the node where it happened and at the next one.
struct Told {
    here: Histogram<u64>,
    there: Histogram<u64>,
}

impl Run for Cluster {
    const NAME: &'static str = "cluster";

    fn needs(&self) -> Needs {
        let Self { publishers, size, .. } = *self;
        let watchers = 64 + (self.streams + self.members) / 100; // generously
        let connections = self.members.saturating_add(self.flat_out).saturating_add(watchers);
        Needs { connections, presence: true, publishers, size }
    }

    fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let alone = self.alone_site()?;
        let cluster = self.site(bench)?;
        let alone = match &alone {
            Some(site) => Some(self.measure(bench, site)?),
            None => None,
        };
        let [publication, join] = self.measure(bench, &cluster)?;
        if let Some([alone_publication, alone_join]) = alone {
            let (urls, report) = (cluster.urls.len(), &mut bench.report);
            for (key, with, without) in
                [("publication", publication, alone_publication), ("join", join, alone_join)]
            {
                let with = if urls > 1 { with.there } else { with.here };
                for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                    let at = |it: &Histogram<u64>| float(it.value_at_quantile(quantile)) / 1e3;
                    let added = at(&with) - at(&without.here);
                    let label = format!("{key}: added to a server without an engine, {name}");
                    report.number(&format!("added_{key}_{name}_ms"), &label, added, "ms");
                }
            }
        }
        Ok(())
    }
}

impl Cluster {
    fn site(&self, bench: &Bench) -> anyhow::Result<Site> {
        let nodes = bench.meter.server().clone();
        if !nodes.is_empty() && nodes.count() != bench.urls.len() as u64 {
            bail!(
                "{} nodes have --url and {} have --pid: name the process of each, or of none; those \
                 without clients by --bystander-pid",
                bench.urls.len(),
                nodes.count()
            );
        }
        let engine = Processes::new(self.engine_pid.clone())?;
        let bystanders = Processes::new(self.bystander_pid.clone())?;
        Ok(Site {
            prefix: "",
            urls: bench.urls.clone(),
            processes: [
                Group { name: "engine", label: "the engine", processes: engine },
                Group { name: "node", label: "a node", processes: nodes },
                Group { name: "bystander", label: "a node without clients", processes: bystanders },
            ],
        })
    }

    fn alone_site(&self) -> anyhow::Result<Option<Site>> {
        let Some(url) = &self.alone else { return Ok(None) };
        let group = |name, label, pids| {
            Ok::<_, anyhow::Error>(Group { name, label, processes: Processes::new(pids)? })
        };
        Ok(Some(Site {
            prefix: "alone_",
            urls: vec![url.clone()],
            processes: [
                group("engine", "", Vec::new())?,
                group("node", "the server", self.alone_pid.into_iter().collect())?,
                group("bystander", "", Vec::new())?,
            ],
        }))
    }

    /// All of it at one site; returns how long publications and joins took.
    fn measure(&self, bench: &mut Bench, site: &Site) -> anyhow::Result<[Told; 2]> {
        self.do_nothing(bench, site)?;
        let publications = self.publish(bench, site)?;
        let joins = self.join(bench, site)?;
        self.join_flat_out(bench, site)?;
        Ok([publications, joins])
    }

    fn do_nothing(&self, bench: &mut Bench, site: &Site) -> anyhow::Result<()> {
        if self.idle <= 0.0 {
            return Ok(());
        }
        let meter = SiteMeter::begin(site)?;
        bench.pass(self.idle, "idle", &mut Nobody)?;
        meter.end(bench, site, "idle", None)
    }

    /// Publications at the rate. Of each stream, they go to one node; it and the next one have a watcher.
    fn publish(&self, bench: &mut Bench, site: &Site) -> anyhow::Result<Told> {
        let nodes = site.urls.len();
        let urls = site.urls.iter().map(|url| url.with_path("/_broadcast")).collect();
        let urls = if site.prefix.is_empty() { bench.crowd.publishers.urls() } else { urls };
        let publishers = bench.crowd.publishers.to(urls, self.publishers as usize);
        let mut crowd = bench.crowd_of(&site.urls, publishers)?;
        bench.open_in(&mut crowd, watchers(0, self.streams, nodes), &mut Nobody)?;
        std::mem::swap(&mut bench.crowd, &mut crowd);
        let told = self.publish_to_watchers(bench, site);
        std::mem::swap(&mut bench.crowd, &mut crowd);
        told
    }

    fn publish_to_watchers(&self, bench: &mut Bench, site: &Site) -> anyhow::Result<Told> {
        let nodes = site.urls.len();
        let audience = 1 + u64::from(nodes > 1);
        let mut paced = Paced::new(vec![audience; self.streams as usize], self.rate);
        let mut arrivals = Arrivals::new(nodes);
        paced.run(bench, &mut arrivals, self.warmup, "warming up")?;
        Paced::drain(bench, &mut arrivals, |arrivals| arrivals.count)?;
        bench.crowd.check()?;
        bench.crowd.publishers.reset();
        (arrivals.count, arrivals.told) = (0, Told::new());
        let meter = SiteMeter::begin(site)?;
        paced.run(bench, &mut arrivals, self.seconds, "publishing")?;
        Paced::drain(bench, &mut arrivals, |arrivals| arrivals.count)?;
        let (prefix, entries) = (site.prefix, bench.crowd.publishers.accepted);
        meter.end(bench, site, "publication", Some(entries))?;
        let trouble = bench.trouble();
        let (report, publishers) = (&mut bench.report, &bench.crowd.publishers);
        let words = prefix.replace('_', " ");
        report.account(&format!("{words}publications"), publishers.sent(), publishers.accepted);
        report.account(&format!("{words}deliveries"), publishers.expected, arrivals.count);
        report.count(
            &format!("{prefix}publications_late"),
            &format!("{words}publications sent late by the client"),
            paced.late(),
        );
        report.trouble(trouble);
        arrivals.told.report(report, site, "publication", "a publication is told");
        Ok(arrivals.told)
    }

    /// Joins and leaves at the rate. The members are spread over the nodes; a member's own node and the next one have a
    /// watcher of its room.
    fn join(&self, bench: &mut Bench, site: &Site) -> anyhow::Result<Told> {
        let mut coming = Coming::open(bench, site, self.streams, self.members, Some(self.rate))?;
        let mut watching = coming.members.another()?;
        watching.expect(Expected::Joins);
        let plans = watchers(self.streams, self.members, site.urls.len());
        bench.open_in(&mut watching, plans, &mut Nobody)?;
        let told = coming.go_on(bench, site, (self.warmup, self.seconds), ("join", watching))?;
        told.report(&mut bench.report, site, "join", "a join is told");
        Ok(told)
    }

    fn join_flat_out(&self, bench: &mut Bench, site: &Site) -> anyhow::Result<()> {
        let first = self.streams + self.members; // rooms in which nobody was
        let mut coming = Coming::open(bench, site, first, self.flat_out, None)?;
        let nobody = coming.members.another()?;
        coming.go_on(bench, site, (self.warmup, self.seconds), ("flat_out", nobody))?;
        Ok(())
    }
}

/// Watchers of so many streams from the first one on, at each stream's node and the next one.
fn watchers(first: u32, streams: u32, nodes: usize) -> Vec<Plan> {
    let of_node = |node: usize| -> Vec<Vec<u32>> {
        let is_watched = |stream: &u32| {
            let at = *stream as usize % nodes;
            node == at || node == (at + 1) % nodes
        };
        let streams: Vec<u32> = (0..streams).filter(is_watched).map(|it| first + it).collect();
        streams.chunks(STREAMS_OF_A_WATCHER).map(<[u32]>::to_vec).collect()
    };
    let mut all: Vec<_> = (0..nodes).map(|node| of_node(node).into_iter()).collect();
    let rounds = all.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
    // in turn, since that is how connections are spread; who has nothing left to follow follows nothing
    let plan = |streams: Option<Vec<u32>>| Plan {
        streams: streams.unwrap_or_default().into(),
        joins: Joins::No,
    };
    (0..rounds).flat_map(|_| all.iter_mut().map(|it| plan(it.next())).collect::<Vec<_>>()).collect()
}

/// Members that join and leave, each in a room of its own.
struct Coming {
    members: Crowd,
    commanders: Commanders,
    rate: Option<f64>,
}

impl Coming {
    fn open(
        bench: &Bench,
        site: &Site,
        first: u32,
        members: u32,
        rate: Option<f64>,
    ) -> anyhow::Result<Self> {
        let mut crowd = bench.crowd_of(&site.urls, bench.crowd.publishers.none())?;
        let rooms = rooms(members, 1, first);
        let asking = Asking::JoinsAndLeaves;
        let mut commanders = Commanders::new(asking, &rooms, &crowd.state.cable, rate);
        crowd.expect(Expected::Joins);
        bench.open_in(&mut crowd, plans(asking, &rooms), &mut commanders)?;
        Ok(Self { members: crowd, commanders, rate })
    }

    fn go_on(
        &mut self,
        bench: &mut Bench,
        site: &Site,
        (warmup, seconds): (f64, f64),
        (phase, mut watching): (&str, Crowd),
    ) -> anyhow::Result<Told> {
        let nodes = site.urls.len();
        let progress = bench::progress("joins and leaves", 0);
        let Self { members, commanders, rate } = self;
        let warm = clock::now() + clock::seconds(warmup);
        let end = warm + clock::seconds(seconds);
        commanders.start(members, end);
        let mut told = Told::new();
        let mut meter = None;
        loop {
            let now = clock::now();
            let is_wrong = members.check().is_err() || watching.check().is_err();
            let is_late = now > end.saturating_add(clock::nanoseconds(bench.patience));
            if is_wrong || now >= end && (is_late || commanders.pending() == 0) {
                break;
            }
            if now >= warm && meter.is_none() {
                commanders.measure(now);
                told = Told::new();
                meter = Some(SiteMeter::begin(site)?);
            }
            let is_paced = rate.is_some();
            watching.turn_all(&mut Watch { commanders, nodes, told: &mut told, is_paced })?;
            let next = commanders.advance(members, now);
            let next = if now < end { next.min(end) } else { now + clock::seconds(0.05) };
            members.turn(clock::until(next, now).min(Duration::from_millis(50)), commanders)?;
        }
        progress.finish_and_clear();
        members.check()?;
        watching.check()?;
        if let Some(meter) = meter {
            meter.end(bench, site, phase, Some(commanders.measured))?;
        }
        let words = format!("{}{phase} answers", site.prefix).replace('_', " ");
        bench.report.account(&words, commanders.sent, commanders.answered);
        Ok(told)
    }
}

/// What watchers of rooms hear.
struct Watch<'a> {
    commanders: &'a Commanders,
    nodes: usize,
    told: &'a mut Told,
    /// Whether a member sends its next command long after the one before.
    is_paced: bool,
}

impl Listener for Watch<'_> {
    fn on_message(
        &mut self,
        client: &mut Client,
        received: Received,
        text: &[u8],
        now: u64,
        classifier: &Classifier,
    ) {
        if received == Received::Joined
            && self.is_paced
            && let Some(member) = classifier.member(text)
            && let Some(began) = self.commanders.began(member)
        {
            self.told.note(member, client, self.nodes, now.saturating_sub(began));
        }
    }
}

/// What watchers of streams get.
struct Arrivals {
    nodes: usize,
    count: u64,
    told: Told,
}

impl Arrivals {
    fn new(nodes: usize) -> Self {
        Self { nodes, count: 0, told: Told::new() }
    }
}

impl Listener for Arrivals {
    fn on_message(
        &mut self,
        client: &mut Client,
        received: Received,
        text: &[u8],
        now: u64,
        classifier: &Classifier,
    ) {
        if let Received::Published(sent) = received {
            self.count += 1;
            if let Some(stream) = classifier.stream(text) {
                self.told.note(stream, client, self.nodes, now.saturating_sub(sent));
            }
        }
    }
}

impl Told {
    fn new() -> Self {
        Self { here: latency::histogram(), there: latency::histogram() }
    }

    /// Something that happened at the node of a number is told to a client.
    fn note(&mut self, number: u32, client: &Client, nodes: usize, nanoseconds: u64) {
        let is_here = number as usize % nodes == client.number as usize % nodes;
        let told = if is_here { &mut self.here } else { &mut self.there };
        told.saturating_record(nanoseconds / 1000);
    }

    fn report(&self, report: &mut Report, site: &Site, key: &str, label: &str) {
        let prefix = site.prefix;
        let words = prefix.replace('_', " ");
        let own = if prefix.is_empty() { "own_node_" } else { "" };
        let at = if prefix.is_empty() { " at its own node" } else { "" };
        report.latency(&format!("{prefix}{own}{key}"), &format!("{words}{label}{at}"), &self.here);
        report.latency(
            &format!("{prefix}{key}"),
            &format!("{words}{label} at another node"),
            &self.there,
        );
    }
}

/// What a span costs each kind of process.
struct SiteMeter {
    own: crate::meter::Begun,
    before: Vec<Cpu>,
}

impl SiteMeter {
    fn begin(site: &Site) -> anyhow::Result<Self> {
        let before = site.processes.iter().map(|group| group.processes.cpu());
        let before = before.collect::<anyhow::Result<_>>()?;
        Ok(Self { own: Meter::new(Processes::default()).begin()?, before })
    }

    /// `entries` is how often something happened.
    fn end(
        self,
        bench: &mut Bench,
        site: &Site,
        phase: &str,
        entries: Option<u64>,
    ) -> anyhow::Result<()> {
        let Span { seconds, own, .. } = Meter::new(Processes::default()).end(&self.own)?;
        let key = format!("{}{phase}", site.prefix);
        let words = key.replace('_', " ");
        let report = &mut bench.report;
        report.number(&format!("{key}_duration_s"), &format!("{words}: took"), seconds, "s");
        if let Some(entries) = entries {
            let rate = float(entries) / seconds;
            report.number(
                &format!("{key}_entries_per_second"),
                &format!("{words}: entries a second"),
                rate,
                "",
            );
        }
        for (Group { name, label, processes }, before) in site.processes.iter().zip(&self.before) {
            if processes.is_empty() {
                continue;
            }
            let spent = float(before.until(&processes.cpu()?).nanoseconds);
            let spent = each(spent, if *name == "engine" { 1 } else { processes.count() });
            if let Some(entries) = entries {
                let label = format!("{words}: CPU of {label}, each entry");
                report.number(
                    &format!("{key}_{name}_cpu_per_entry_us"),
                    &label,
                    each(spent / 1e3, entries),
                    "µs",
                );
            }
            let label = format!("{words}: CPU of {label}");
            let share = spent / 1e7 / seconds;
            report.number(&format!("{key}_{name}_cpu_core_percent"), &label, share, "% of a core");
        }
        let share = float(own.nanoseconds) / 1e7 / seconds;
        report.number(
            &format!("{key}_client_cpu_core_percent"),
            &format!("{words}: client CPU"),
            share,
            "% of a core (at 100 % the client is the limit)",
        );
        Ok(())
    }
}
