//! A Redis server of a test's own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};
use tempfile::TempDir;

/// A running Redis server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
    flags: Vec<String>,
    password: String,
}

impl Server {
    /// Starts one that keeps nothing on disk, with more flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_at(free_port(), flags)
    }

    /// The same, at a port.
    pub(crate) fn start_at(port: u16, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
        let child = spawn(port, &folder, &flags);
        let password = flags.iter().skip_while(|flag| *flag != "--requirepass").nth(1);
        let password = password.cloned().unwrap_or_default();
        let server = Self { child, port, folder, flags, password };
        server.wait();
        server
    }

    /// Its URL, for the default user.
    pub(crate) fn url(&self) -> String {
        self.url_of("", &self.password)
    }

    /// The same, for a user.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        let at = if password.is_empty() { String::new() } else { format!("{user}:{password}@") };
        format!("redis://{at}127.0.0.1:{}", self.port)
    }

    /// A command, its words separated by spaces.
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connection()).unwrap()
    }

    /// The same, for commands whose answer is of no interest.
    pub(crate) fn tell(&self, words: &str) {
        let _: redis::Value = self.ask(words);
    }

    /// What the names of a partition's keys begin with, if it has a log.
    pub(crate) fn prefix(&self, cluster: &str, partition: u16) -> Option<String> {
        let keys: Vec<String> = self.ask(&format!("KEYS {cluster}:{{{partition}.*}}:meta"));
        keys.first()?.strip_suffix(":meta").map(str::to_owned)
    }

    /// A connection.
    pub(crate) fn connection(&self) -> Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Ends it without saving, and starts it again after a time. It has what is on disk.
    pub(crate) fn restart(&mut self, after: Duration) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::thread::sleep(after);
        self.child = spawn(self.port, &self.folder, &self.flags);
        self.wait();
    }

    fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "redis-server didn't start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill()); // it may have ended already
        drop(self.child.wait());
    }
}

fn spawn(port: u16, folder: &TempDir, flags: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    if !flags.iter().any(|flag| flag == "--appendonly") {
        command.args(["--appendonly", "no"]);
    }
    command.args(flags).current_dir(folder).stdout(Stdio::null());
    command.spawn().expect("redis-server is missing: `make setup` installs it")
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
