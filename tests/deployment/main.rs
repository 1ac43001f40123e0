//! The Compose files and what they mount: the settings, files, services and ports that they name exist. And so do the
//! log lines that `docs/CLUSTER.md` explains.
//!
//! The YAML is read as this project writes it: two spaces a level, one service after the other.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests fail by panicking, and a server lives in real time"
)]

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use broker::config::{Config, Protocols};

const ALONE: &str = "docker-compose.yml";
const CLUSTER: &str = "docker-compose.cluster.yml";
const NGINX: &str = "config/cluster/nginx.conf";
const REDIS: &str = "config/cluster/redis.conf";
const MANUAL: &str = "docs/CLUSTER.md";
const PROMETHEUS: &str = "config/cluster/prometheus.yml";

/// The protocol whose path is the application's in the example.
const AT_THE_ROOT: &str = "/";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).expect(file)
}

/// The lines below a key of the first level.
fn section<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().skip_while(move |line| !line.starts_with(&format!("{key}:")));
    lines.skip(1).take_while(|line| line.is_empty() || line.starts_with([' ', '#']))
}

/// The keys one level below that.
fn names(text: &str, key: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let name = line.strip_prefix("  ")?.strip_suffix(':')?;
        (!name.starts_with([' ', '#'])).then(|| name.to_owned())
    };
    section(text, key).filter_map(name).collect()
}

/// The broker's variables.
fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(": "));
    let own = lines.filter(|(name, _)| name.starts_with("BROKER_"));
    let value = |value: &str| value.split(" #").next().unwrap().trim().trim_matches('"').to_owned();
    own.map(|(name, text)| (name.to_owned(), value(text))).collect()
}

#[test]
fn the_broker_starts_with_the_variables() {
    for file in [ALONE, CLUSTER] {
        let variables = variables(&read(file));
        assert!(variables.len() >= 3, "{file} has {variables:?}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.env_clear().env("BROKER_HOST", "0.0.0.0").envs(variables).arg("--print-config");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("is not a setting"), "{file}: {said}");
    }
}

#[test]
fn what_is_mounted_exists() {
    for file in [ALONE, CLUSTER] {
        let text = read(file);
        let volumes = names(&text, "volumes");
        let mut found = 0;
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("- ")) {
            let Some((from, to)) = line.split_once(":/") else { continue };
            found += 1;
            let is_there = match from.strip_prefix("./") {
                Some(path) => root().join(path).exists(),
                None => volumes.contains(from),
            };
            assert!(is_there, "{file} mounts {from} at /{to}, which isn't there");
        }
        assert!(found >= 4, "{file} mounts {found}");
    }
}

#[test]
fn every_broker_is_reached_at_its_port() {
    let services = names(&read(CLUSTER), "services");
    let brokers: BTreeSet<String> =
        services.iter().filter(|name| name.starts_with("broker-")).cloned().collect();
    assert_eq!(brokers.len(), 3, "{services:?}");
    let port = Config::default().port;
    let all: BTreeSet<String> = brokers.iter().map(|name| format!("{name}:{port}")).collect();
    let nginx = read(NGINX);
    let upstreams: Vec<&str> = nginx.split("\n    upstream ").skip(1).collect();
    assert_eq!(upstreams.len(), 2);
    for upstream in upstreams {
        let servers = upstream.split("server ").skip(1).filter_map(|rest| rest.split(' ').next());
        let servers = servers.filter(|name| name.contains(':')).map(str::to_owned);
        assert_eq!(servers.collect::<BTreeSet<_>>(), all, "{NGINX}");
    }
    let prometheus = read(PROMETHEUS);
    let targets = prometheus.split("targets: [").nth(1).unwrap().split(']').next().unwrap();
    assert_eq!(targets.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), all);
    let (_, url) =
        variables(&read(CLUSTER)).into_iter().find(|(name, _)| name == "BROKER_REDIS_URL").unwrap();
    let host = url.strip_prefix("redis://").unwrap().split(':').next().unwrap();
    assert!(services.contains(host), "{CLUSTER} has no service {host}");
}

#[test]
fn nginx_passes_on_what_clients_speak_and_listens_where_it_is_published() {
    let nginx = read(NGINX);
    for (protocol, path) in Protocols::default().spoken().filter(|(_, path)| *path != AT_THE_ROOT) {
        let path = path.trim_start_matches('/');
        let is_there = ["(", "|", "/"].iter().any(|before| {
            ["/", "|", ")"].iter().any(|after| nginx.contains(&format!("{before}{path}{after}")))
        });
        assert!(is_there, "{NGINX} doesn't pass on {} at /{path}", protocol.name);
    }
    let compose = read(CLUSTER);
    for port in [8080, 8081] {
        assert!(nginx.contains(&format!("listen {port};")), "{NGINX} doesn't listen at {port}");
        let published = format!("\"127.0.0.1:{port}:{port}\"");
        assert!(compose.contains(&published), "{CLUSTER} doesn't publish {port}");
    }
    for setting in [
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Connection $connection_upgrade;",
        "proxy_next_upstream error timeout http_503;",
    ] {
        assert!(nginx.contains(setting), "{NGINX} lacks {setting}");
    }
}

#[test]
fn every_published_port_is_on_loopback() {
    for file in [ALONE, CLUSTER] {
        let text = read(file);
        let mut ports = text.split("    ports:\n").skip(1).flat_map(|rest| {
            rest.lines().take_while(|line| line.trim().starts_with("- ")).collect::<Vec<_>>()
        });
        assert!(ports.all(|port| port.trim().starts_with("- \"127.0.0.1:")), "{file}");
    }
}

#[test]
fn every_log_line_of_the_manual_is_logged() {
    let manual = read(MANUAL);
    let (_, part) = manual.split_once("\n## What the log says\n").unwrap();
    let rows = part.lines().take_while(|line| !line.starts_with("## "));
    let rows = rows.filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let lines: Vec<&str> = rows.flat_map(|cell| cell.split('`').step_by(2)).collect();
    assert!(lines.len() > 10, "{lines:?}");
    let mut sources = String::new();
    for folder in [
        "crates/core/src/cluster",
        "src",
        "src/engine",
        "src/engine/redis",
        "src/node",
        "src/server",
    ] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        let line = line.strip_prefix("broker: ").unwrap_or(line);
        let begin = ["HOST", "NAME", "…"]
            .into_iter()
            .fold(line, |line, name| line.split_once(name).map_or(line, |(begin, _)| begin));
        assert!(sources.contains(&format!("\"{begin}")), "{MANUAL}: nothing logs {line:?}");
    }
}

/// A Redis server; killed when dropped.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn redis_takes_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut command = Command::new("redis-server");
    command.arg(root().join(REDIS)).args(["--port", &port.to_string()]);
    command.args(["--bind", "127.0.0.1"]).current_dir(&folder).stdout(Stdio::null());
    let child = command.spawn().expect("redis-server is missing: `make setup` installs it");
    let _redis = Redis(child);
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "redis-server didn't start with {REDIS}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut setting = |name: &str| -> String {
        let mut get = redis::cmd("CONFIG");
        let (_, value): (String, String) = get.arg("GET").arg(name).query(&mut connection).unwrap();
        value
    };
    assert_eq!(setting("maxmemory-policy"), "noeviction");
    assert_ne!(setting("maxmemory"), "0");
    let limits = setting("client-output-buffer-limit");
    assert!(limits.contains("pubsub 67108864 33554432 60"), "{limits}");
    assert_eq!(setting("appendonly"), "yes");
}
