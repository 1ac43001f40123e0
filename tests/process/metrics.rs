//! `docs/METRICS.md`, the names in the code and the output of the running broker have the same metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use broker::telemetry::metrics::{ALL, APPLICATION, CLUSTER, Kind};

use crate::redis::Redis;
use crate::support::Broker;

const MANUAL: &str = "docs/METRICS.md";

/// Where the manual has the metrics that only some brokers have.
const TABLES: [(&str, Table); 2] =
    [("## In a cluster", Table::Cluster), ("## With an application", Table::Application)];

/// What the manual says of a metric that isn't there before it counts.
const ON_FIRST_USE: &str = "*On first use.*";

/// Labels whose values the manual can't list.
const OPEN_LABELS: [&str; 3] = ["version", "shard", "status"];

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which brokers have a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    All,
    Application,
    Cluster,
}

/// A row of the manual's tables.
struct Row {
    kind: String,
    unit: String,
    labels: BTreeMap<String, BTreeSet<String>>,
    on_first_use: bool,
    table: Table,
}

/// The tables: rows by name.
fn manual() -> BTreeMap<String, Row> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(MANUAL);
    let text = std::fs::read_to_string(path).expect(MANUAL);
    let mut table = BTreeMap::new();
    let mut within = Table::All;
    for line in text.lines() {
        if line.starts_with("## ") {
            let named = TABLES.iter().find(|(heading, _)| line == *heading);
            within = named.map_or(Table::All, |(_, table)| *table);
        }
        if !line.starts_with("| `broker_") {
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let columns = <[&str; 8]>::try_from(cells).map_err(|_| line);
        let [_, name, kind, unit, labels, meaning, _, _] = columns.expect("six columns");
        let row = Row {
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            labels: labels.split(';').filter_map(label).collect(),
            on_first_use: meaning.ends_with(ON_FIRST_USE),
            table: within,
        };
        let name = name.trim_matches('`').to_owned();
        assert!(table.insert(name.clone(), row).is_none(), "{MANUAL} has {name} twice");
    }
    table
}

/// A label and its values: what stands in backticks, the label first.
fn label(text: &str) -> Option<(String, BTreeSet<String>)> {
    let mut quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((quoted.next()?, quoted.collect()))
}

/// What the broker tells: types by name, and each name's labels with the values seen.
#[derive(Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    labels: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                scrape.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#')
                && let Some((series, _value)) = line.rsplit_once(' ')
            {
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let found = scrape.labels.entry(scrape.family(name)).or_default();
                for pair in labels.trim_end_matches('}').split("\",").filter(|l| !l.is_empty()) {
                    let (label, value) = pair.split_once("=\"").expect("a label");
                    let value = value.trim_end_matches('"').to_owned();
                    if label != "le" {
                        found.entry(label.to_owned()).or_default().insert(value);
                    }
                }
            }
        }
        scrape
    }

    /// The metric a series belongs to: a histogram has three.
    fn family(&self, series: &str) -> String {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
        let family = family.filter(|family| self.types.contains_key(*family));
        family.unwrap_or(series).to_owned()
    }
}

/// Sends a request over a connection of its own.
fn connect(broker: &Broker, request: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", broker.port)).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.write_all(request).expect("a request");
    socket
}

fn scrape(broker: &Broker) -> Scrape {
    let (status, text) = broker.get("/metrics");
    assert_eq!(status, 200);
    Scrape::parse(&text)
}

/// A client that subscribes and joins, hears of it, and goes.
fn visit(broker: &Broker) {
    let mut socket = connect(
        broker,
        b"GET /cable HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let identifier = r#""{\"channel\":\"$pubsub\",\"stream_name\":\"room\"}""#;
    let command =
        format!(r#"{{"command":"subscribe","identifier":{identifier},"presence":{{"id":"ann"}}}}"#);
    let length = u8::try_from(command.len()).expect("a short command");
    assert!(length <= 125, "a longer command needs a longer header");
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0]; // a mask that changes nothing
    frame.extend_from_slice(command.as_bytes());
    socket.write_all(&frame).expect("a command");
    let (mut heard, mut buffer) = (String::new(), [0; 1024]);
    while !heard.contains(r#"{"type":"join","id":"ann""#) {
        let read = socket.read(&mut buffer).expect("the join");
        assert_ne!(read, 0, "the connection ended after {heard:?}");
        heard.extend(buffer.iter().take(read).map(|byte| char::from(*byte)));
    }
}

/// A publication, accepted.
fn publish(broker: &Broker) {
    let body = r#"{"stream":"room","data":"1"}"#;
    let length = body.len();
    let request = format!(
        "POST /_broadcast HTTP/1.1\r\nHost: broker\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut answer = [0; 12];
    connect(broker, request.as_bytes()).read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 201");
}

#[test]
fn the_manual_lists_the_metrics_of_the_code() {
    let mut manual = manual();
    let tables = [(ALL, Table::All), (APPLICATION, Table::Application), (CLUSTER, Table::Cluster)];
    let each = tables.into_iter().flat_map(|(all, table)| all.iter().map(move |it| (it, table)));
    for (metric, table) in each {
        let name = metric.name;
        let row = manual.remove(name).unwrap_or_else(|| panic!("{MANUAL} has no row for {name}"));
        assert_eq!(row.table, table, "the table that has {name} in {MANUAL}");
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(row.kind, kind, "the type of {name} in {MANUAL}");
        let unit = if metric.unit == metrics::Unit::Count { "" } else { metric.unit.as_str() };
        assert_eq!(row.unit, unit, "the unit of {name} in {MANUAL}");
        for label in row.labels.keys() {
            assert!(metric.help.contains(&format!("`{label}`")), "{name} has no label {label}");
        }
    }
    let more: Vec<&String> = manual.keys().collect();
    assert!(more.is_empty(), "{MANUAL} lists metrics that don't exist: {more:?}");
}

#[test]
fn the_manual_lists_what_the_broker_tells() {
    let mut manual = manual();
    manual.retain(|_, row| row.table == Table::All);
    let broker = Broker::start(&["--presence-ttl", "0s"]);
    compare(&manual, &scrape(&broker), true);
    visit(&broker);
    publish(&broker);
    compare(&manual, &scrape(&broker), false);
}

#[test]
fn the_manual_lists_what_a_broker_with_an_application_tells() {
    let mut manual = manual();
    manual.retain(|_, row| row.table != Table::Cluster);
    let broker = Broker::start(&["--rpc-host", "127.0.0.1:1"]);
    compare(&manual, &scrape(&broker), true);
    let told = |series: &str| value(&broker.get("/metrics").1, series);
    assert!((told("broker_rpc_limit") - 25.0).abs() < 0.5);
}

#[test]
fn the_manual_lists_what_a_node_tells() {
    let mut manual = manual();
    manual.retain(|_, row| row.table != Table::Application);
    let redis = Redis::start();
    let mut broker = Broker::start(&["--redis-url", &redis.url(), "--presence-ttl", "0s"]);
    broker.until("healthy", |broker| broker.status("/health") == 200); // partitions have workers then
    compare(&manual, &scrape(&broker), true);
    visit(&broker);
    publish(&broker);
    compare(&manual, &scrape(&broker), false);
    let told = |series: &str| value(&broker.get("/metrics").1, series);
    assert!(told("broker_engine_append_seconds_count") >= 2.0);
    assert!(told("broker_engine_tail_lag_seconds_count") >= 2.0);
    assert!(told("broker_engine_batch_entries_sum") >= 2.0);
    assert!(told("broker_engine_batch_bytes_sum") > 30.0);
    assert!(told("broker_engine_log_bytes") > 30.0);
}

#[test]
fn a_node_tells_that_it_is_cut_off() {
    let redis = Redis::start();
    let url = redis.url();
    let flags = ["--redis-url", &url, "--node-lease", "1s", "--engine-timeout", "1s"];
    let mut broker = Broker::start(&flags);
    let is = |broker: &mut Broker, series: &str| value(&broker.get("/metrics").1, series);
    let is_in = |state: &'static str| {
        move |broker: &mut Broker| {
            let series = format!("broker_cluster_state{{state=\"{state}\"}}");
            is(broker, &series) > 0.0
        }
    };
    broker.until("current", is_in("current"));
    broker.until("a member", |broker| is(broker, "broker_cluster_members") > 0.0);
    broker.until("connected", |broker| is(broker, "broker_engine_connected") > 0.0);
    redis.signal("STOP");
    broker.until("behind", is_in("behind"));
    assert_eq!(broker.get("/health"), (503, r#"{"status":"behind"}"#.to_owned()));
    broker.until("disconnected", |broker| is(broker, "broker_engine_connected") < 1.0);
    redis.signal("CONT");
    broker.until("current again", is_in("current"));
    broker.until("connected again", |broker| is(broker, "broker_engine_connected") > 0.0);
    assert!(is(&mut broker, "broker_engine_reconnects_total{reason=\"timeout\"}") > 0.0);
    assert!(is(&mut broker, "broker_cluster_state{state=\"behind\"}") < 1.0);
}

/// The value of a series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("the broker doesn't tell {series}")).parse().expect("a number")
}

/// Compares what a broker tells with the manual. A fresh one hasn't had its first use.
fn compare(manual: &BTreeMap<String, Row>, scrape: &Scrape, is_fresh: bool) {
    for (name, kind) in &scrape.types {
        let row = manual.get(name).unwrap_or_else(|| panic!("{MANUAL} has no row for {name}"));
        assert_eq!(&row.kind, kind, "the type of {name} in {MANUAL}");
    }
    for (name, labels) in &scrape.labels {
        assert!(scrape.types.contains_key(name), "{name} has no type");
        let listed = manual.get(name).map(|row| &row.labels).expect("a row");
        let told: BTreeSet<&String> = labels.keys().collect();
        assert_eq!(told, listed.keys().collect(), "the labels of {name} in {MANUAL}");
        for (label, values) in labels {
            let unlisted: Vec<_> = values.difference(&listed[label]).collect();
            let open = OPEN_LABELS.contains(&label.as_str());
            assert!(open || unlisted.is_empty(), "{MANUAL}: {name} {label} {unlisted:?}");
        }
    }
    for (name, row) in manual {
        if row.on_first_use && is_fresh {
            continue;
        }
        let told = scrape.labels.get(name);
        let told = told.unwrap_or_else(|| panic!("the broker doesn't tell {name}"));
        for (label, values) in row.labels.iter().filter(|_| !row.on_first_use) {
            let missing: Vec<_> = values
                .iter()
                .filter(|value| told.get(label).is_none_or(|told| !told.contains(*value)))
                .collect();
            let open = OPEN_LABELS.contains(&label.as_str());
            assert!(open || missing.is_empty(), "{name} isn't told with {label} {missing:?}");
        }
    }
}
