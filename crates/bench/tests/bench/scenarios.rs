//! Every scenario gives its figures, and they are possible.

use serde_json::Value;

use super::support::{Bare, Broker, bench};

/// Runs a scenario for its figures. All that its help names have to be there.
fn figures(broker: &Broker, scenario: &str, flags: &[&str]) -> Value {
    let (url, pid) = (broker.url(), broker.pid());
    let arguments = [&[scenario, "--json", "--url", &url, "--pid", &pid], flags].concat();
    let figures = bench(&arguments).figures();
    let help = bench(&[scenario, "--help"]).stdout;
    assert!(help.contains(&format!("Example: broker-bench {scenario} ")), "{help}");
    let units = ["_us", "_ms", "_s", "_bytes", "_percent"];
    let named = help.split('`').skip(1).step_by(2);
    for key in named.filter(|key| units.iter().any(|unit| key.ends_with(unit))) {
        assert!(figures.get(key).is_some(), "{key} is missing: {figures}");
    }
    figures
}

fn number(figures: &Value, key: &str) -> f64 {
    figures[key].as_f64().unwrap_or_else(|| panic!("{key} is missing: {figures}"))
}

/// The percentiles rise, and lie within a test's patience.
fn assert_latency(figures: &Value, key: &str) {
    let at = |name: &str| number(figures, &format!("{key}_{name}_ms"));
    let percentiles = ["p50", "p90", "p99", "p999", "max"].map(at);
    assert!(percentiles.is_sorted(), "{percentiles:?}");
    assert!(percentiles[0] > 0.0 && percentiles[4] < 60_000.0, "{percentiles:?}");
}

/// CPU time was used, and no more than there is.
fn assert_cpu(figures: &Value, phase: &str) {
    let at = |name: &str| number(figures, &format!("{phase}{name}"));
    let cores =
        f64::from(u16::try_from(std::thread::available_parallelism().unwrap().get()).unwrap());
    assert!(at("server_cpu_s") <= at("duration_s") * cores + 0.1, "{figures}");
    assert!(at("client_cpu_s") > 0.0 && at("client_cpu_s") <= at("duration_s") + 0.1, "{figures}");
}

#[test]
fn idle_connections_take_memory_and_cpu_to_connect() {
    let broker = Broker::start(&[]);
    let flags = ["--connections=200", "--streams=20", "--join", "--seconds=0.5", "--settle=0.1"];
    let figures = figures(&broker, "idle", &flags);
    assert_eq!(figures["connections"], 200);
    let each = number(&figures, "server_memory_per_connection_bytes");
    assert!(each > 0.0 && each < 1e6, "{each}");
    assert!(number(&figures, "connect_server_cpu_per_connection_us") > 1.0, "{figures}");
    assert_cpu(&figures, "connect_");
    assert_cpu(&figures, "idle_");
}

#[test]
fn idle_connections_hear_pings() {
    let broker = Broker::start(&["--ping-interval", "100ms"]);
    let flags = ["--connections=10", "--seconds=1", "--settle=0"];
    let figures = figures(&broker, "idle", &flags);
    let (pings, seconds) = (number(&figures, "idle_pings"), number(&figures, "idle_duration_s"));
    let max = 10.0 * (10.0 * seconds + 5.0);
    assert!((20.0..=max).contains(&pings), "10 clients heard {pings} pings in {seconds} s");
}

#[test]
fn a_fan_out_reaches_everyone() {
    let broker = Broker::start(&[]);
    let flags = ["--connections=50", "--rate=40", "--seconds=0.5", "--warmup=0.2"];
    let figures = figures(&broker, "fanout", &flags);
    assert_eq!(figures["publications"], 20);
    assert_eq!(figures["deliveries"], 1000);
    assert_latency(&figures, "delivery");
    assert_latency(&figures, "publish");
    assert_cpu(&figures, "");
}

#[test]
fn connections_spread_over_streams_and_streams_over_connections() {
    let broker = Broker::start(&[]);
    for (connections, streams, deliveries) in [("50", "10", 100), ("10", "40", 20)] {
        let flags =
            ["--connections", connections, "--streams", streams, "--rate=40", "--seconds=0.5"];
        let figures = figures(&broker, "fanout", &[&flags[..], &["--warmup=0"]].concat());
        assert_eq!(figures["deliveries"], deliveries, "{connections} over {streams}");
    }
}

#[test]
fn a_burst_reaches_everyone() {
    let broker = Broker::start(&[]);
    let flags = ["--connections=50", "--count=200", "--warmup=10", "--publishers=3", "--size=300"];
    let figures = figures(&broker, "burst", &flags);
    assert_eq!((&figures["publications"], &figures["deliveries"]), (&200.into(), &10_000.into()));
    assert_latency(&figures, "delivery");
    assert_cpu(&figures, "");
}

#[test]
fn in_a_storm_everyone_sees_everyone() {
    let broker = Broker::start(&[]);
    let figures = figures(&broker, "storm", &["--connections=100"]);
    assert_eq!(figures["events"], 10_000);
    assert!(number(&figures, "server_memory_peak_bytes") > 1e6);
    assert!(number(&figures, "server_cpu_per_event_us") > 0.0);
    assert_cpu(&figures, "");
}

#[test]
fn who_vanishes_has_left_in_every_room_and_others_are_served_meanwhile() {
    let broker = Broker::start(&["--presence-ttl", "500ms"]);
    let flags = [
        "--connections=60",
        "--rooms-per-connection=5",
        "--members=10",
        "--listeners=5",
        "--before=0.3",
    ];
    let figures = figures(&broker, "expire", &flags);
    assert_eq!((&figures["rooms"], &figures["records"]), (&30.into(), &300.into()));
    assert_eq!(figures["leaves"], 300);
    let first = number(&figures, "first_leave_s");
    assert!((0.5..5.0).contains(&first), "{first}");
    assert!(number(&figures, "last_leave_s") >= first);
    for window in ["before", "expiry"] {
        assert_latency(&figures, window);
    }
}

#[test]
fn commands_are_all_answered_in_a_loop_and_at_a_pace() {
    let broker = Broker::start(&[]);
    let flags = ["--connections=20", "--seconds=0.5", "--warmup=0.1"];
    let figures_of = |more: &[&str]| figures(&broker, "commands", &[&flags[..], more].concat());
    let looped = figures_of(&[]);
    assert!(number(&looped, "commands_measured") > 100.0, "{looped}");
    assert_latency(&looped, "command");
    let paced = number(&figures_of(&["--command-rate=100"]), "commands_measured");
    assert!((25.0..=75.0).contains(&paced), "{paced} in half a second, at 100 a second");
}

#[test]
fn joins_and_leaves_are_all_told() {
    let broker = Broker::start(&[]);
    for members in ["1", "10"] {
        let flags = ["--connections=20", "--seconds=0.5", "--warmup=0.1", "--members", members];
        let figures = figures(&broker, "churn", &flags);
        assert!(number(&figures, "commands_measured") > 100.0, "{figures}");
        assert_latency(&figures, "command");
    }
}

#[test]
fn commands_and_broadcasts_are_measured_side_by_side() {
    let broker = Broker::start(&[]);
    for asking in [&[][..], &["--churn"]] {
        let flags = ["--connections=50", "--rate=20", "--seconds=0.5", "--warmup=0.2"];
        let figures = figures(&broker, "mixed", &[&flags[..], asking].concat());
        assert_eq!(figures["deliveries"], number(&figures, "publications") * 50.0);
        assert!(number(&figures, "publications") >= 5.0, "{figures}");
        assert_latency(&figures, "delivery");
        assert_latency(&figures, "command");
    }
}

#[test]
fn records_of_the_application_take_memory_and_are_there() {
    let broker = Broker::start(&[]);
    let flags = ["--count=3000", "--streams=7", "--info-size=50", "--settle=0"];
    let figures = figures(&broker, "records", &flags);
    assert_eq!(figures["records"], 3000);
    let (each, beside) = (
        number(&figures, "server_memory_per_record_bytes"),
        number(&figures, "server_memory_beside_info_bytes"),
    );
    assert!((each - beside - 50.0).abs() < 1.0, "{figures}");
}

#[test]
fn the_bare_server_delivers_what_another_one_does() {
    let bare = Bare::start();
    let (pid, url) = (bare.pid(), bare.url.clone());
    let measure = |scenario: &str, flags: &[&str]| {
        let common = [scenario, "--json", "--url", &url, "--pid", &pid, "--connections=20"];
        bench(&[&common[..], flags].concat())
    };
    let burst = measure("burst", &["--count=100", "--warmup=10", "--streams=4"]).figures();
    assert_eq!(burst["deliveries"], 500);
    let flags = ["--rate=40", "--seconds=0.5", "--warmup=0", "--size=70000"];
    let fanout = measure("fanout", &flags).figures();
    assert_eq!(fanout["deliveries"], 400);
    measure("idle", &["--seconds=0.1", "--settle=0"]).figures();
    let storm = measure("storm", &["--patience=0.5"]);
    assert_eq!(storm.complaint(1), "broker-bench: expected 400 events, got 0\n");
}

#[test]
fn a_table_has_the_same_for_people() {
    let broker = Broker::start(&[]);
    let (url, pid) = (broker.url(), broker.pid());
    let run = bench(&["storm", "--connections=10", "--url", &url, "--pid", &pid]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let mut lines = run.stdout.lines();
    assert_eq!(lines.next(), Some(format!("storm of {url} (broker)").as_str()));
    assert!(lines.any(|line| line.split_whitespace().eq(["events", "that", "came", "100"])));
}

#[test]
fn without_a_process_it_says_so_and_measures_the_rest() {
    let broker = Broker::start(&[]);
    let run = bench(&["storm", "--connections=10", "--json", "--url", &broker.url()]);
    let said =
        "broker-bench: no --pid was given, so the server's CPU time and memory aren't measured\n";
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), said));
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["figures"]["events"], 100);
    assert!(report["figures"].get("server_cpu_s").is_none());
}
