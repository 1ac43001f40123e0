//! The dashboard and the alerts ask for metrics that exist, by labels they have, in the way their
//! kind allows; and `docs/DEPLOYMENT.md` explains every row and every alert.
//!
//! When the alerts fire, `promtool test rules tests/deployment/alerts_test.yml` tells.

use std::collections::BTreeSet;
use std::path::Path;

use broker::telemetry::metrics::{ALL, APPLICATION, CLUSTER, Kind, Metric};
use serde::Deserialize;

const DASHBOARD: &str = "config/grafana/dashboards/broker.json";
const ALERTS: &str = "config/prometheus/alerts.yml";
const GUIDE: &str = "docs/DEPLOYMENT.md";

/// Labels that Prometheus adds to whatever it scrapes, and that of a histogram's buckets.
const EVERYWHERE: [&str; 3] = ["instance", "job", "le"];

#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(rename = "gridPos")]
    place: Place,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

#[derive(Deserialize)]
struct Place {
    x: u64,
    y: u64,
    w: u64,
    h: u64,
}

/// The metrics of every broker, those of one with an application, and those of a cluster's nodes.
fn all() -> impl Iterator<Item = &'static Metric> {
    ALL.iter().chain(APPLICATION).chain(CLUSTER)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file)
}

fn panels() -> Vec<Panel> {
    serde_json::from_str::<Dashboard>(&read(DASHBOARD)).expect("a dashboard").panels
}

/// Names and queries of the alerts. Reads the YAML as this project writes it: `expr` in one line,
/// or as a block that ends with `for` or `labels`.
fn alerts() -> Vec<(String, String)> {
    let alert = |text: &str| {
        let (name, rest) = text.split_once('\n')?;
        let (_, query) = rest.split_once("expr:")?;
        let lines = query.lines().map(|line| line.trim().trim_start_matches('|'));
        let query: Vec<&str> =
            lines.take_while(|l| !l.starts_with("for:") && !l.starts_with("labels:")).collect();
        Some((name.trim().to_owned(), query.join(" ")))
    };
    read(ALERTS).split("- alert: ").skip(1).map(|a| alert(a).expect("an alert")).collect()
}

/// Every query with where it stands.
fn queries() -> Vec<(String, String)> {
    let of_panel = |panel: Panel| {
        let place = format!("panel {:?}", panel.title);
        panel.targets.into_iter().map(move |target| (place.clone(), target.expr))
    };
    let of_alert = |(name, query)| (format!("alert {name}"), query);
    panels().into_iter().flat_map(of_panel).chain(alerts().into_iter().map(of_alert)).collect()
}

/// A word of a query, outside of quotes, with what stands on either side.
struct Word<'a> {
    text: &'a str,
    before: &'a str,
    after: &'a str,
}

fn words(query: &str) -> Vec<Word<'_>> {
    let (mut found, mut start, mut quoted) = (Vec::new(), None, false);
    for (at, c) in query.char_indices().chain([(query.len(), ' ')]) {
        if !quoted && (c.is_ascii_alphanumeric() || c == '_') {
            start.get_or_insert(at);
        } else if let Some(start) = start.take() {
            let (head, after) = query.split_at(at);
            let (before, text) = head.split_at(start);
            found.push(Word { text, before, after });
        }
        quoted ^= c == '"';
    }
    found
}

impl Word<'_> {
    /// The metric it names, and what is added to that for a histogram's series.
    fn metric(&self) -> Option<(&'static Metric, &str)> {
        let exact = all().find(|metric| metric.name == self.text);
        let series = |m: &'static Metric| Some((m, self.text.strip_prefix(m.name)?));
        let histograms = || all().filter(|metric| metric.kind == Kind::Histogram);
        exact.map(|metric| (metric, "")).or_else(|| histograms().find_map(series))
    }

    /// Whether it is a label: in `by (…)`, or before the `=` in braces.
    fn is_label(&self) -> bool {
        let after = self.after.trim_start();
        let call = self.before.rsplit_once('(').map_or("", |(call, _)| call.trim_end());
        let grouped = call.ends_with(" by") && after.starts_with([',', ')']);
        let matched =
            self.before.rfind('{') > self.before.rfind('}') && after.starts_with(['=', '!']);
        grouped || matched
    }
}

#[test]
fn every_metric_exists_and_is_read_as_its_kind_wants() {
    let queries = queries();
    assert!(queries.len() > 30, "only {} queries were found", queries.len());
    for (place, query) in &queries {
        for word in words(query).iter().filter(|word| word.text.starts_with("broker_")) {
            let name = word.text;
            let Some((metric, series)) = word.metric() else {
                panic!("{place} asks for {name}, which isn't there")
            };
            let growth = ["rate(", "increase(", "resets("];
            let growth = growth.iter().any(|call| word.before.ends_with(call));
            let right = match metric.kind {
                Kind::Gauge => !growth,
                Kind::Counter => growth,
                Kind::Histogram => growth && ["_bucket", "_sum", "_count"].contains(&series),
            };
            assert!(right, "{place} asks for {name} as if it were no {:?}", metric.kind);
        }
    }
}

#[test]
fn every_label_is_one_of_the_metrics() {
    for (place, query) in &queries() {
        let words = words(query);
        let of_alerts = ["alertname", "alertstate"].map(|l| (query.contains("ALERTS{"), l));
        let has = |label: &str| {
            let mut metrics = words.iter().filter_map(Word::metric);
            EVERYWHERE.contains(&label)
                || of_alerts.contains(&(true, label))
                || metrics.any(|(metric, _)| metric.help.contains(&format!("`{label}`")))
        };
        for label in words.iter().filter(|word| word.is_label()) {
            assert!(has(label.text), "{place}: nothing in {query} has the label {}", label.text);
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let panels: Vec<Panel> = panels();
    let shown: BTreeSet<&str> = (panels.iter().flat_map(|panel| &panel.targets))
        .flat_map(|target| words(&target.expr))
        .filter_map(|word| word.metric().map(|(metric, _)| metric.name))
        .collect();
    for metric in all() {
        assert!(shown.contains(metric.name), "no panel of {DASHBOARD} shows {}", metric.name);
    }
}

#[test]
fn the_guide_explains_every_row_and_every_alert() {
    let guide = read(GUIDE);
    for row in panels().iter().filter(|panel| panel.kind == "row") {
        let part = format!("\n### {}\n", row.title);
        assert!(guide.contains(&part), "{GUIDE} has no part on {:?}", row.title);
    }
    for (alert, _) in alerts() {
        assert!(guide.contains(&format!("| `{alert}` |")), "{GUIDE} doesn't explain {alert}");
    }
}

#[test]
fn panels_say_what_they_show_and_have_a_place_of_their_own() {
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for Panel { id, kind, title, description, place, .. } in panels() {
        assert!(kind == "row" || !description.is_empty(), "{title} doesn't say what it shows");
        assert!(ids.insert(id), "the id of {title} is taken");
        assert!(place.x + place.w <= 24, "{title} is wider than the page");
        for x in place.x..place.x + place.w {
            for y in place.y..place.y + place.h {
                assert!(cells.insert((x, y)), "{title} covers another panel");
            }
        }
    }
}
