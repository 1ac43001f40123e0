//! A broker with a secret: keys, and log lines that never contain a secret.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use broker::auth::derive;

use crate::support::{Broker, command};

const SECRET: &str = "s3cret-of-this-test";

/// Asks for a page with a key; its status.
fn status(broker: &Broker, path: &str, key: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n");
    write!(socket, "{head}Authorization: Bearer {key}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

/// Opens a WebSocket and reads what comes up to the frame with which the broker closes.
fn refusal(broker: &Broker, path: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = socket.read(&mut buffer) {
        answer.extend_from_slice(buffer.get(..read).unwrap());
        if answer.ends_with(b"unauthorized") {
            break; // the reason of the close frame; what came before it is JSON
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_log_says_what_is_protected_and_never_by_what() {
    let file = std::env::temp_dir().join(format!("broker-secret-{}", std::process::id()));
    std::fs::write(&file, format!("{SECRET}\nolder-secret\n")).unwrap();
    let path = file.to_str().unwrap();
    let flags = ["--secret-file", path, "--log-level", "trace", "--presence-id-claim", "sub"];
    let mut broker = Broker::start(&flags);
    std::fs::remove_file(&file).unwrap();

    let metrics = derive(SECRET, "metrics-cable");
    assert_eq!(broker.status("/metrics"), 401);
    assert_eq!(status(&broker, "/metrics", SECRET), "401");
    assert_eq!(status(&broker, "/metrics", &metrics), "200");
    assert_eq!(status(&broker, "/metrics", &derive("older-secret", "metrics-cable")), "200");
    let api = derive(SECRET, "api-cable");
    assert_eq!(status(&broker, "/api/presence/room/users", &api), "200");
    assert_eq!(status(&broker, "/api/presence/room/users", &metrics), "401");
    assert_eq!(broker.status("/health"), 200);
    let told = refusal(&broker, "/cable?jid=a-token-of-somebody");
    let frame = r#"{"type":"disconnect","reason":"unauthorized","reconnect":false}"#;
    assert!(told.starts_with("HTTP/1.1 101") && told.contains(frame), "{told}");

    broker.signal("TERM");
    assert_eq!(broker.wait(Duration::from_secs(10)), Some(0));
    let log = broker.log();
    for line in [
        "access=\"protected by token\" reach=\"this machine\" streams=\"signed\"",
        "presence_ids=\"from the token\"",
        "/_broadcast\" access=\"protected by key\"",
        "/api\" access=\"protected by key\"",
        "/metrics\" access=\"protected by key\"",
        "the token is malformed",
    ] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
    for secret in [SECRET, "older-secret", &metrics, &api, "a-token-of-somebody"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[test]
fn with_a_secret_any_address_may_be_listened_on() {
    let mut child = command(&["--host", "0.0.0.0", "--port", "0", "--secret", SECRET])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let mut stderr = child.stderr.take().unwrap();
    let mut buffer = [0; 1024];
    while !log.contains("ready") {
        let read = stderr.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{log}");
        log.push_str(&String::from_utf8_lossy(buffer.get(..read).unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(log.contains("reach=\"everyone who can reach it\"") && !log.contains("WARN"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}
