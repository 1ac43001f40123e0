//! The end of the process: by signals, and for addresses that are in use.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Broker, command};

/// How much later than due something may be seen: a busy machine.
const LATE: Duration = Duration::from_millis(2500);

/// A WebSocket client that, once welcomed, neither reads nor answers.
fn frozen_client(port: u16) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket
        .write_all(
            b"GET /cable HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    socket
}

#[test]
fn sigterm_and_sigint_end_it_with_0() {
    for signal in ["TERM", "INT"] {
        let mut broker = Broker::start(&[]);
        broker.signal(signal);
        assert_eq!(broker.wait(Duration::from_secs(5)), Some(0), "SIG{signal}");
    }
}

#[test]
fn a_client_that_does_not_answer_is_waited_for_no_longer_than_the_timeout() {
    let mut broker = Broker::start(&["--shutdown-timeout", "1s"]);
    let _client = frozen_client(broker.port);
    let begun = Instant::now();
    broker.signal("TERM");
    assert_eq!(broker.wait(Duration::from_secs(5)), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(1) + LATE, "it took {:?}", begun.elapsed());
}

#[test]
fn while_it_stops_it_is_not_ready_and_a_second_signal_ends_it_at_once() {
    let mut broker = Broker::start(&["--shutdown-timeout", "60s"]);
    assert_eq!(broker.status("/health"), 200);
    let _client = frozen_client(broker.port);
    broker.signal("TERM");
    broker.until("not ready", |broker| broker.status("/health") == 503);
    let begun = Instant::now();
    broker.signal("TERM");
    assert_eq!(broker.wait(Duration::from_secs(5)), Some(130));
    assert!(begun.elapsed() < LATE, "it took {:?}", begun.elapsed());
}

#[test]
fn a_port_in_use_is_one_sentence_and_code_2() {
    let other = Broker::start(&[]);
    let port = other.port.to_string();
    for flag in ["--port", "--api-port", "--metrics-port"] {
        let flags: &[&str] = &["--port", "0", flag, &port];
        let flags = if flag == "--port" { &flags[2..] } else { flags };
        let output = command(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let sentence = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "broker: 127.0.0.1:{port} can't be listened on: the port is in use; \
             choose another one with {flag}\n"
        );
        assert_eq!(sentence, expected);
    }
}

#[test]
fn the_log_says_what_serves_where() {
    let mut broker =
        Broker::start(&["--api-port", "0", "--presence-ttl", "7s", "--broadcast-key", "k"]);
    broker.signal("TERM");
    broker.wait(Duration::from_secs(5));
    let log = broker.log();
    let port = broker.port;
    for line in [
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\" engine=\"memory\" presence_ttl=7s"),
        &format!("url=\"ws://127.0.0.1:{port}/cable\" access=\"open\" reach=\"this machine\""),
        "/_broadcast\" access=\"protected by key\"",
        "/api\" access=\"open\"",
        &format!("http://127.0.0.1:{port}/metrics"),
        "open_files=",
        "stopping signal=\"SIGTERM\"",
    ] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}
