//! A NATS server of a test's own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::free_port;

/// Settings without which there is no JetStream.
pub(crate) const JETSTREAM: &str =
    "jetstream { store_dir: \"data\", max_memory_store: 1GB, max_file_store: 1GB }";

/// A running NATS server; killed when dropped.
pub(crate) struct NatsServer {
    child: Option<Child>,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    /// Whether nodes have it keep streams in files.
    is_durable: bool,
}

impl NatsServer {
    /// Starts one with JetStream and more settings.
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_at(free_port(), &format!("{JETSTREAM}\n{settings}"))
    }

    /// Starts one that keeps streams in files.
    pub(crate) fn start_durable() -> Self {
        let mut server = Self::start("");
        server.is_durable = true;
        server
    }

    /// Starts one at a port with just these settings.
    pub(crate) fn start_at(port: u16, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { child: None, port, folder, is_durable: false };
        server.configure(settings);
        server.begin();
        server
    }

    /// Writes its settings, which it reads when it starts, or after SIGHUP.
    pub(crate) fn configure(&self, settings: &str) {
        let Self { port, .. } = self;
        let settings =
            format!("listen: \"127.0.0.1:{port}\"\nlogfile: \"log\"\ndebug: true\n{settings}\n");
        std::fs::write(self.folder.path().join("conf"), settings).unwrap();
    }

    /// The same for one with JetStream.
    pub(crate) fn configure_more(&self, settings: &str) {
        self.configure(&format!("{JETSTREAM}\n{settings}"));
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        let kept = if self.is_durable { "file+" } else { "" };
        format!("{kept}nats://127.0.0.1:{}", self.port)
    }

    /// The same, for a user.
    pub(crate) fn url_of(&self, user: &str) -> String {
        format!("nats://{user}@127.0.0.1:{}", self.port)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Where it keeps streams.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill()); // it may have ended already
            drop(child.wait());
        }
    }

    /// Ends it at once, and starts it again after a time. It has what is in files.
    pub(crate) fn restart(&mut self, after: Duration) {
        self.kill();
        std::thread::sleep(after);
        self.begin();
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn begin(&mut self) {
        let mut command = Command::new("nats-server");
        command.args(["-c", "conf"]).current_dir(&self.folder);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("nats-server is missing: `make setup` installs it");
        self.child = Some(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "nats-server didn't start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A connection beside those of nodes.
    pub(crate) async fn client(&self) -> Client {
        let options = ConnectOptions::new().request_timeout(Some(Duration::from_secs(5)));
        options.connect(format!("127.0.0.1:{}", self.port)).await.unwrap()
    }

    /// Has JetStream do something.
    pub(crate) async fn ask(&self, call: &str, request: Value) -> Value {
        let subject = format!("$JS.API.{call}");
        let answer = self.client().await.request(subject, request.to_string().into()).await;
        let answer: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
        assert_eq!(answer.get("error"), None, "{call}");
        answer
    }

    /// A stream.
    pub(crate) async fn stream(&self, name: &str) -> Value {
        self.ask(&format!("STREAM.INFO.{name}"), json!({})).await
    }

    /// How many messages a stream has.
    pub(crate) async fn length(&self, name: &str) -> u64 {
        self.stream(name).await.pointer("/state/messages").and_then(Value::as_u64).unwrap()
    }

    /// How many batches the first log has.
    pub(crate) async fn batches(&self) -> u64 {
        let subjects = self.subjects("test-0", "test.log.*").await;
        subjects.get("test.log.0").and_then(Value::as_u64).unwrap_or(0)
    }

    /// Has it keep aside what it has in files.
    pub(crate) fn save(&self) {
        drop(std::fs::remove_dir_all(self.saved()));
        copy(&self.data(), &self.saved());
    }

    /// Ends it at once, and starts it again with what was saved.
    pub(crate) fn restart_with_saved(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.data()).unwrap();
        copy(&self.saved(), &self.data());
        self.begin();
    }

    fn saved(&self) -> PathBuf {
        self.folder.path().join("saved")
    }

    /// Changes a stream's configuration.
    pub(crate) async fn update(&self, name: &str, key: &str, to: Value) {
        let mut info = self.stream(name).await;
        let mut config = info.get_mut("config").unwrap().take();
        config.as_object_mut().unwrap().insert(key.to_owned(), to);
        self.ask(&format!("STREAM.UPDATE.{name}"), config).await;
    }

    /// The subjects that match, with their numbers of messages.
    pub(crate) async fn subjects(&self, stream: &str, like: &str) -> Value {
        let request = json!({ "subjects_filter": like });
        let info = self.ask(&format!("STREAM.INFO.{stream}"), request).await;
        info.pointer("/state/subjects").cloned().unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
