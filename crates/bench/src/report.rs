//! What was measured: a table for people, one JSON object for programs.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::meter::Span;
use crate::numbers::{each, float};
use crate::server_process::Memory;

pub(crate) struct Report {
    scenario: &'static str,
    parameters: Value,
    figures: Vec<Figure>,
    /// What isn't as it has to be.
    problems: Vec<String>,
}

struct Figure {
    /// In JSON; it ends with the unit.
    key: String,
    label: String,
    value: Value,
    shown: String,
}

/// What else is known of the run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Circumstances {
    pub(crate) url: String,
    /// What the server says it is.
    pub(crate) server: Option<String>,
    /// What its process is called.
    pub(crate) process: Option<String>,
    pub(crate) command: Vec<String>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str, parameters: Value) -> Self {
        Self { scenario, parameters, figures: Vec::new(), problems: Vec::new() }
    }

    /// A plain count.
    pub(crate) fn count(&mut self, key: &str, label: &str, count: u64) {
        self.add(key, label, json!(count), grouped(count));
    }

    /// A number with its unit, which the key has to name, too.
    pub(crate) fn number(&mut self, key: &str, label: &str, number: f64, unit: &str) {
        self.add(key, label, json!(rounded(number)), format!("{} {unit}", readable(number)));
    }

    /// Memory, in bytes.
    pub(crate) fn memory(&mut self, key: &str, label: &str, bytes: u64) {
        let shown = format!("{:.1} MiB", float(bytes) / f64::from(1 << 20));
        self.add(&format!("{key}_bytes"), label, json!(bytes), shown);
    }

    /// How much memory grew, for each of `count`.
    pub(crate) fn growth(
        &mut self,
        of: &str,
        count: u64,
        before: Option<Memory>,
        after: Option<Memory>,
    ) {
        let (Some(before), Some(after)) = (before, after) else { return };
        self.memory(
            "server_memory_before",
            "server memory before the first connection",
            before.now,
        );
        self.memory("server_memory_after", "server memory with them", after.now);
        let grown = each(float(after.now.saturating_sub(before.now)), count);
        let key = format!("server_memory_per_{of}_bytes");
        self.number(&key, &format!("  growth per {of}"), grown, "bytes");
    }

    /// The CPU time of a span; `per` says what it was spent on, and how often that happened.
    pub(crate) fn cost(&mut self, phase: &str, span: &Span, per: Option<(&str, u64)>) {
        let (key, label) = if phase.is_empty() {
            (String::new(), String::new())
        } else {
            (format!("{}_", phase.replace([' ', '-'], "_")), format!("{phase}: "))
        };
        self.number(&format!("{key}duration_s"), &format!("{label}took"), span.seconds, "s");
        if let Some(spent) = span.server {
            let seconds = float(spent.nanoseconds) / 1e9;
            if let Some((what, count)) = per {
                let name = what.replace([' ', '-'], "_");
                self.number(
                    &format!("{key}server_cpu_per_{name}_us"),
                    &format!("{label}server CPU per {what}"),
                    each(seconds * 1e6, count),
                    "µs",
                );
            }
            self.number(
                &format!("{key}server_cpu_s"),
                &format!("{label}server CPU in all"),
                seconds,
                "s",
            );
            self.number(
                &format!("{key}server_cpu_core_percent"),
                &format!("{label}server CPU"),
                100.0 * seconds / span.seconds,
                "% of a core",
            );
            if let Some(share) = spent.system_share {
                self.number(
                    &format!("{key}server_cpu_system_percent"),
                    &format!("{label}  of that in the kernel"),
                    100.0 * share,
                    "%",
                );
            }
            self.add(
                &format!("{key}server_cpu_source"),
                &format!("{label}  counted in"),
                json!(if spent.exact { "schedstat" } else { "stat" }),
                if spent.exact { "nanoseconds" } else { "ticks of 10 ms" }.to_owned(),
            );
        }
        let own = float(span.own.nanoseconds) / 1e9;
        self.number(&format!("{key}client_cpu_s"), &format!("{label}client CPU"), own, "s");
        self.number(
            &format!("{key}client_cpu_core_percent"),
            &format!("{label}client CPU"),
            100.0 * own / span.seconds,
            "% of a core (at 100 % the client is the limit)",
        );
    }

    /// Percentiles of what was counted in microseconds.
    pub(crate) fn latency(&mut self, key: &str, label: &str, histogram: &Histogram<u64>) {
        if histogram.is_empty() {
            return;
        }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            let value = float(histogram.value_at_quantile(quantile)) / 1e3;
            self.number(&format!("{key}_{name}_ms"), &format!("{label} {name}"), value, "ms");
        }
        let max = float(histogram.max()) / 1e3;
        self.number(&format!("{key}_max_ms"), &format!("{label} max"), max, "ms");
    }

    /// What had to arrive and what did; a difference is a problem.
    pub(crate) fn account(&mut self, what: &str, expected: u64, got: u64) {
        let key = what.replace(' ', "_");
        self.count(&format!("{key}_expected"), &format!("{what} expected"), expected);
        self.count(&key, &format!("{what} that came"), got);
        if expected != got {
            self.problems.push(format!("expected {expected} {what}, got {got}"));
        }
    }

    /// What went wrong besides, which may explain what is missing.
    pub(crate) fn trouble(&mut self, trouble: Option<String>) {
        self.problems.extend(trouble);
    }

    /// All that isn't as it has to be.
    pub(crate) fn problem(&self) -> Option<String> {
        (!self.problems.is_empty()).then(|| self.problems.join("\n"))
    }

    /// Whether nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }

    pub(crate) fn table(&self, circumstances: &Circumstances) -> String {
        let width = self.figures.iter().map(|figure| figure.label.chars().count()).max();
        let width = width.unwrap_or(0);
        let name = circumstances.server.as_ref().or(circumstances.process.as_ref());
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        let mut lines = vec![format!("{} of {}{name}", self.scenario, circumstances.url)];
        lines.extend(self.figures.iter().map(|Figure { label, shown, .. }| {
            let line = format!("  {label:width$}  {shown}");
            line.trim_end().to_owned()
        }));
        lines.join("\n") + "\n"
    }

    pub(crate) fn json(&self, circumstances: &Circumstances) -> Value {
        let figures: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.key.clone(), figure.value.clone())).collect();
        json!({
            "scenario": self.scenario,
            "url": circumstances.url,
            "server": circumstances.server,
            "server_process": circumstances.process,
            "command": circumstances.command,
            "parameters": self.parameters,
            "figures": figures,
            "problem": self.problem(),
        })
    }

    fn add(&mut self, key: &str, label: &str, value: Value, shown: String) {
        self.figures.push(Figure { key: key.to_owned(), label: label.to_owned(), value, shown });
    }
}

/// With spaces between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// With as many decimals as say something.
fn readable(number: f64) -> String {
    match number.abs() {
        small if small < 10.0 => format!("{number:.3}"),
        middle if middle < 1000.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

fn rounded(number: f64) -> f64 {
    if number.is_finite() { (number * 1e4).round() / 1e4 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_problem_and_said() {
        let mut report = Report::new("storm", json!({}));
        report.account("events", 10, 10);
        report.trouble(None);
        assert_eq!(report.problem(), None);
        report.account("deliveries", 10, 9);
        report.trouble(Some("a connection ended".to_owned()));
        let problem = "expected 10 deliveries, got 9\na connection ended";
        assert_eq!(report.problem().as_deref(), Some(problem));
        let json = report.json(&Circumstances::default());
        assert_eq!(json["figures"]["deliveries_expected"], 10);
        assert_eq!(json["problem"], problem);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(1_234_567).replace('\u{202f}', " "), "1 234 567");
        assert_eq!(
            [readable(0.1234), readable(12.34), readable(1234.5)],
            ["0.123", "12.3", "1234"]
        );
        assert!((rounded(1.234_56) - 1.2346).abs() < 1e-9);
    }
}
