//! The scenarios of several nodes, on a real Redis.

use serde_json::Value;

use super::support::{Broker, Redis, bench};

/// Nodes with a Redis between them.
struct Cluster {
    redis: Redis,
    nodes: Vec<Broker>,
}

impl Cluster {
    fn start(nodes: usize) -> Self {
        let redis = Redis::start();
        let url = format!("--redis-url={}", redis.url());
        let nodes: Vec<_> = (0..nodes).map(|_| Broker::start(&[&url])).collect();
        nodes.iter().for_each(Broker::is_healthy);
        Self { redis, nodes }
    }

    /// The URLs of some nodes.
    fn urls(&self, of: std::ops::Range<usize>) -> String {
        let urls: Vec<_> = self.nodes[of].iter().map(Broker::url).collect();
        format!("--url={}", urls.join(","))
    }
}

/// All that a scenario's help names has to be there.
fn assert_complete(scenario: &str, figures: &Value) {
    let help = bench(&[scenario, "--help"]).stdout;
    assert!(help.contains(&format!("Example: broker-bench {scenario} ")), "{help}");
    let units = ["_us", "_ms", "_s", "_bytes", "_percent"];
    let named = help.split('`').skip(1).step_by(2);
    for key in named.filter(|key| units.iter().any(|unit| key.ends_with(unit))) {
        assert!(figures.get(key).is_some(), "{key} is missing: {figures}");
    }
}

fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("{key} is missing: {figures}"))
}

#[test]
fn the_way_between_nodes_is_measured_and_what_each_process_pays() {
    let cluster = Cluster::start(3);
    let alone = Broker::start(&[]);
    let pids: Vec<_> = cluster.nodes.iter().map(Broker::pid).collect();
    let run = bench(&[
        "cluster",
        "--json",
        &cluster.urls(0..2),
        "--pid",
        &pids[0],
        "--pid",
        &pids[1],
        "--bystander-pid",
        &pids[2],
        "--engine-pid",
        &cluster.redis.pid(),
        "--alone",
        &alone.url(),
        "--alone-pid",
        &alone.pid(),
        "--rate=100",
        "--streams=7",
        "--members=20",
        "--flat-out=20",
        "--seconds=0.5",
        "--warmup=0.2",
        "--idle=0.5",
    ]);
    let figures = run.figures();
    assert_complete("cluster", &figures);
    for site in ["", "alone_"] {
        let at = |key: &str| number(&figures, &format!("{site}{key}"));
        assert!((at("publications") - 50.0).abs() < 1.5, "{figures}");
        let audience = if site.is_empty() { 2.0 } else { 1.0 };
        assert!((at("deliveries") - audience * at("publications")).abs() < 0.1, "{figures}");
        assert!(at("flat_out_answers") > 20.0, "{figures}");
        for key in ["publication", "join"] {
            let told = ["p50", "p99", "max"].map(|name| at(&format!("{key}_{name}_ms")));
            assert!(told.is_sorted() && told[0] > 0.0 && told[2] < 60_000.0, "{told:?}");
            assert!(at(&format!("{key}_node_cpu_per_entry_us")) > 1.0, "{figures}");
        }
    }
}

#[test]
fn members_of_a_node_that_is_killed_are_back_at_the_others_and_nobody_has_left() {
    let cluster = Cluster::start(3);
    let [dying, others @ ..] = &cluster.nodes[..] else { panic!("three nodes") };
    let run = bench(&[
        "rejoin",
        "--json",
        &cluster.urls(0..3),
        "--connections=100",
        "--kill",
        &dying.pid(),
        "--pid",
        &others[0].pid(),
        "--pid",
        &cluster.redis.pid(),
    ]);
    let figures = run.figures();
    assert_complete("rejoin", &figures);
    assert_eq!((&figures["members_back"], &figures["leaves"]), (&100.into(), &0.into()));
    assert!(number(&figures, "back_max_ms") > number(&figures, "lost_max_ms"), "{figures}");
}

#[test]
fn other_scenarios_spread_their_load_over_the_nodes() {
    let cluster = Cluster::start(2);
    let (urls, pids) = (cluster.urls(0..2), cluster.nodes.iter().map(Broker::pid));
    let pids: Vec<_> = pids.map(|pid| format!("--pid={pid}")).collect();
    let common = ["--json", &urls, &pids[0], &pids[1]];
    let flags = ["fanout", "--connections=10", "--streams=2", "--rate=40", "--seconds=0.5"];
    let figures = bench(&[&flags[..], &common].concat()).figures();
    assert_eq!(figures["deliveries"], number(&figures, "publications") * 5.0);
    assert_eq!(
        bench(&[&["storm", "--connections=20"], &common[..]].concat()).figures()["events"],
        400
    );
    let records = ["records", "--count=100", "--streams=7", "--settle=0"];
    assert_eq!(bench(&[&records[..], &common].concat()).figures()["records"], 100);
    for node in &cluster.nodes {
        let metrics = node.get("/metrics");
        assert!(metrics.contains("\nbroker_connections_opened_total 15\n"), "{metrics}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let broker = Broker::start(&[]);
    let run = bench(&["rejoin", "--url", &broker.url(), "--pid", &broker.pid()]);
    assert_eq!(
        run.complaint(1),
        "broker-bench: its members have nowhere to go: name a second node by --url\n"
    );
    let urls = format!("{0},{0}", broker.url());
    let run = bench(&["cluster", "--url", &urls, "--pid", &broker.pid()]);
    let complaint = run.complaint(1);
    assert!(complaint.contains("2 nodes have --url and 1 have --pid"), "{complaint}");
    let run = bench(&["cluster", "--alone-pid=1"]);
    assert!(run.complaint(2).contains("--alone <URL>"), "{run:?}");
}
