//! Starts the two binaries.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The broker built beside `broker-bench`.
fn broker() -> PathBuf {
    let broker = Path::new(env!("CARGO_BIN_EXE_broker-bench")).with_file_name("broker");
    assert!(broker.exists(), "{} isn't there: cargo build", broker.display());
    broker
}

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    /// Starts one on a free port and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = without_settings(Command::new(broker()));
        command.args(["--port", "0"]).args(flags).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut port = None;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("ws://127.0.0.1:") {
                port = rest.split('/').next().unwrap().parse().ok();
            }
            if line.contains("ready") {
                break;
            }
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, port: port.expect("a broker that becomes ready") }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/cable", self.port)
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Waits until something has been published.
    pub(crate) fn is_published_to(&self) {
        let begun = Instant::now();
        while self.get("/metrics").contains("\nbroker_publications_total 0\n") {
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing is published");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it takes clients.
    pub(crate) fn is_healthy(&self) {
        let begun = Instant::now();
        while !self.get("/health").starts_with("HTTP/1.1 200 ") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", self.get("/health"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// A Redis server that keeps nothing on disk; killed when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts one on a free port and waits until it can be reached.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no"]).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server is missing: `make setup` installs it");
        let redis = Self { child, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "redis-server didn't start");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The bare server of broker-bench; killed when dropped.
pub(crate) struct Bare {
    child: Child,
    pub(crate) url: String,
}

impl Bare {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker-bench"));
        let mut child = command.args(["bare", "--port=0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let (_, url) = line.trim().split_once("the bare server is at ").expect("its address");
        Self { child, url: url.to_owned() }
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill()); // it may have ended already
        drop(self.child.wait());
    }
}

/// What the variables that are settings begin with.
const SETTINGS: [&str; 4] = ["BROKER_", "ANYCABLE_", "REDIS_URL", "NATS_SERVERS"];

/// The variables of whoever runs the tests are none of their business.
fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if SETTINGS.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// What a run of broker-bench left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs it to its end.
pub(crate) fn bench(arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker-bench"));
    let output = command.args(arguments).output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// Its figures, if it went well.
    pub(crate) fn figures(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        let report: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(report["problem"], Value::Null);
        report["figures"].clone()
    }

    /// What it complained of, if it failed with this code.
    pub(crate) fn complaint(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        &self.stderr
    }
}
