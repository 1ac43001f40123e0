//! Starts the real binary on a free port and talks to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
    pub(crate) port: u16,
}

/// What the variables that are settings begin with.
const SETTINGS: [&str; 4] = ["BROKER_", "ANYCABLE_", "REDIS_URL", "NATS_SERVERS"];

/// The binary with its environment cleared of settings.
pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    for (name, _) in std::env::vars() {
        if SETTINGS.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.args(flags);
    command
}

impl Broker {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = command(&["--port", "0"]);
        command.args(flags).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut log, mut port) = (String::new(), None);
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("ws://127.0.0.1:") {
                port = rest.split('/').next().unwrap().parse().ok();
            }
            log.push_str(&line);
            log.push('\n');
            if line.contains("ready") {
                break;
            }
        }
        let port = port.unwrap_or_else(|| panic!("it did not become ready:\n{log}"));
        let log = Arc::new(Mutex::new(log));
        let rest = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = rest.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, reader: Some(reader), port }
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits for the end; the exit code, or `None` if it takes longer.
    pub(crate) fn wait(&mut self, longest: Duration) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < longest {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Waits until something is so.
    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < Duration::from_secs(10), "not {what} after 10 s");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks for a page; its status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The status of a page.
    pub(crate) fn status(&self, path: &str) -> u16 {
        self.get(path).0
    }

    /// What it has logged; all of it once it has ended.
    pub(crate) fn log(&mut self) -> String {
        if let Some(reader) = self.reader.take_if(|_| matches!(self.child.try_wait(), Ok(Some(_))))
        {
            reader.join().unwrap();
        }
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill()); // it may have ended already
        drop(self.child.wait());
    }
}
