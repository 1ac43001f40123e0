//! Servers that do wrong are reported, and never waited for without end.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use super::support::{Broker, Run, bench};

/// What a server of these tests does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// It delivers only the first publication.
    LosesMessages,
    /// It delivers everything twice.
    Repeats,
    /// It closes the connection instead of delivering.
    Closes,
    /// It knows no presence, and doesn't answer.
    NoPresence,
    /// It knows no such channel, and doesn't answer, as Rails.
    NoChannel,
    /// It says no `welcome`.
    Silent,
    /// It tells of others' joins for three seconds before it tells of one's own.
    TakesItsTime,
    /// Nothing, but it splits its messages, and wants pongs.
    Nothing,
}

type Socket = WebSocket<std::net::TcpStream>;

/// An Action Cable server for one client, and what takes its publications. Returns their URLs.
fn serve(wrong: Wrong) -> (String, String) {
    let (cable, http) = (listen(), listen());
    let urls = (
        format!("ws://{}/cable", cable.local_addr().unwrap()),
        format!("http://{}/", http.local_addr().unwrap()),
    );
    let (sender, publications) = sync_channel(1000);
    std::thread::spawn(move || take_publications(&http, &sender));
    std::thread::spawn(move || be_cable(&cable, wrong, &publications));
    urls
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Answers each publication with 201 and hands its data on.
fn take_publications(listener: &TcpListener, to: &SyncSender<Value>) {
    let (mut socket, _) = listener.accept().unwrap();
    let (mut input, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = socket.read(&mut bytes) {
        input.extend_from_slice(&bytes[..length]);
        // The body is the only part that ends with a brace.
        while let Some(end) = input.iter().position(|byte| *byte == b'}')
            && let Some(end) = input[end..].iter().position(|byte| *byte == b'"').map(|at| end + at)
            && let Some(end) = input[end..].iter().position(|byte| *byte == b'}').map(|at| end + at)
        {
            let request: Vec<u8> = input.drain(..=end).collect();
            let body = request.iter().position(|byte| *byte == b'{').unwrap();
            let body: Value = serde_json::from_slice(&request[body..]).unwrap();
            to.send(serde_json::from_str(body["data"].as_str().unwrap()).unwrap()).unwrap();
            socket.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    }
}

#[expect(clippy::result_large_err, reason = "tungstenite wants it so")]
fn be_cable(listener: &TcpListener, wrong: Wrong, publications: &Receiver<Value>) {
    let (socket, _) = listener.accept().unwrap();
    let mut socket =
        tungstenite::accept_hdr(socket, |request: &Request, mut response: Response| {
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            response.headers_mut().insert("server", HeaderValue::from_static("wrong/1"));
            Ok(response)
        })
        .unwrap();
    if wrong != Wrong::Silent {
        say(&mut socket, &json!({"type": "welcome"}));
    }
    let Ok(Message::Text(text)) = socket.read() else { return };
    let command: Value = serde_json::from_str(&text).unwrap();
    if wrong == Wrong::NoChannel {
        while socket.read().is_ok() {}
    }
    let identifier = &command["identifier"];
    say(&mut socket, &json!({"type": "confirm_subscription", "identifier": identifier}));
    if wrong == Wrong::Nothing {
        socket.send(Message::Ping("are you there".into())).unwrap();
        let answer = socket.read().unwrap();
        assert_eq!(answer, Message::Pong("are you there".into()));
    }
    if wrong == Wrong::NoPresence {
        while socket.read().is_ok() {}
    }
    if wrong == Wrong::TakesItsTime {
        let join = socket.read().unwrap();
        let join: Value = serde_json::from_str(join.to_text().unwrap()).unwrap();
        let tell = |socket: &mut Socket, id: &Value| {
            let message = json!({"type": "join", "id": id, "info": {}});
            say(socket, &json!({"type": "presence", "identifier": identifier, "message": message}));
        };
        for number in 1000..1030 {
            tell(&mut socket, &json!(format!("m-{number}")));
            std::thread::sleep(Duration::from_millis(100));
        }
        tell(&mut socket, &join["presence"]["id"]);
        while socket.read().is_ok() {}
    }
    for (number, message) in publications.iter().enumerate() {
        let message = json!({"identifier": identifier, "message": message});
        match wrong {
            Wrong::LosesMessages if number > 0 => {}
            Wrong::Closes => {
                let (code, reason) = (1008.into(), "enough".into());
                socket.close(Some(CloseFrame { code, reason })).unwrap();
                while socket.read().is_ok() {}
                return;
            }
            Wrong::Repeats => {
                say(&mut socket, &message);
                say(&mut socket, &message);
            }
            Wrong::Nothing => say_in_pieces(&mut socket, &message),
            Wrong::LosesMessages
            | Wrong::NoPresence
            | Wrong::NoChannel
            | Wrong::Silent
            | Wrong::TakesItsTime => {
                say(&mut socket, &message);
            }
        }
    }
}

fn say(socket: &mut Socket, message: &Value) {
    socket.send(Message::text(message.to_string())).unwrap();
}

/// One message as two frames, each of them in several segments.
fn say_in_pieces(socket: &mut Socket, message: &Value) {
    let text = message.to_string();
    let (first, second) = text.as_bytes().split_at(50);
    let mut frames = vec![0x01, 50];
    frames.extend_from_slice(first);
    frames.extend_from_slice(&[0x80, 126]);
    frames.extend_from_slice(&u16::try_from(second.len()).unwrap().to_be_bytes());
    frames.extend_from_slice(second);
    for segment in frames.chunks(37) {
        socket.get_mut().write_all(segment).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a scenario against such a server, with a second of patience.
fn measure(scenario: &str, wrong: Wrong, flags: &[&str]) -> Run {
    let (url, publish_url) = serve(wrong);
    let own = std::process::id().to_string();
    let common = ["--url", &url, "--pid", &own, "--connections=1", "--streams=1", "--patience=1"];
    let publishing = ["--publish-url", &publish_url];
    let publishing = if scenario == "fanout" { &publishing[..] } else { &[] };
    let begun = Instant::now();
    let run = bench(&[&[scenario, "--json"], &common[..], publishing, flags].concat());
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    run
}

const PACE: [&str; 3] = ["--rate=20", "--seconds=0.5", "--warmup=0"];

#[test]
fn what_is_lost_is_counted() {
    let run = measure("fanout", Wrong::LosesMessages, &PACE);
    assert_eq!(run.complaint(1), "broker-bench: expected 10 deliveries, got 1\n");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["figures"]["deliveries_expected"], 10);
    assert_eq!(report["figures"]["deliveries"], 1);
    assert_eq!(report["problem"], "expected 10 deliveries, got 1");
}

#[test]
fn what_comes_twice_is_counted() {
    let run = measure("fanout", Wrong::Repeats, &PACE);
    assert_eq!(run.complaint(1), "broker-bench: expected 10 deliveries, got 20\n");
}

#[test]
fn a_closed_connection_is_said_with_its_reason() {
    let run = measure("fanout", Wrong::Closes, &PACE);
    let complaint = run.complaint(1);
    assert!(complaint.starts_with("broker-bench: expected "), "{complaint}");
    assert!(
        complaint.ends_with("the server closed a connection: code 1008 enough\n"),
        "{complaint}"
    );
}

#[test]
fn a_server_without_presence_is_said_to_have_none() {
    let run = measure("idle", Wrong::NoPresence, &["--join"]);
    assert_eq!(
        run.complaint(1),
        "broker-bench: only 0 of 1 connections came to be, and for 1s none: no connection got the \
         join: does the server know presence, with this --protocol? AnyCable wants --broker=memory\n"
    );
}

#[test]
fn a_server_without_the_channel_is_said_to_have_none() {
    let run = measure("idle", Wrong::NoChannel, &[]);
    assert_eq!(
        run.complaint(1),
        "broker-bench: only 0 of 1 connections came to be, and for 1s none: the server doesn't answer \
         the subscription: has it the channel of --identifier? If not, Rails says so in its log only\n"
    );
}

#[test]
fn an_origin_that_rails_refuses_is_asked_about() {
    let listener = listen();
    let url = format!("ws://{}/cable", listener.local_addr().unwrap());
    let rails = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            request.extend_from_slice(&byte);
        }
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nCache-Control: no-cache\r\n\
                      Transfer-Encoding: chunked\r\n\r\ne\r\nPage not found\r\n0\r\n\r\n";
        socket.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    let own = std::process::id().to_string();
    let run = bench(&["idle", "--connections=1", "--streams=1", "--url", &url, "--pid", &own]);
    let request = rails.join().unwrap();
    let own_origin = url.replace("ws://", "\r\nOrigin: http://").replace("/cable", "\r\n");
    assert!(request.contains(&own_origin), "{request}");
    assert_eq!(
        run.complaint(1),
        "broker-bench: the handshake was refused: HTTP/1.1 404 Not Found: Page not found\n\
         Is the path in --url the one of the WebSocket? Rails says so, too, if it doesn't allow the \
         --origin.\n"
    );
}

#[test]
fn who_has_much_to_tell_of_others_is_waited_for() {
    let run = measure("idle", Wrong::TakesItsTime, &["--join", "--seconds=0.1", "--settle=0"]);
    assert_eq!(run.figures()["connections"], 1);
}

#[test]
fn what_nothing_came_of_says_so_where_the_figures_would_be() {
    let run = measure("idle", Wrong::Silent, &[]);
    let complaint = run.complaint(1).trim_end();
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["figures"], json!({}));
    assert_eq!(format!("broker-bench: {}", report["problem"].as_str().unwrap()), complaint);
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let run = measure("idle", Wrong::Silent, &[]);
    assert_eq!(
        run.complaint(1),
        "broker-bench: only 0 of 1 connections came to be, and for 1s none: the server says no \
         `welcome`: is this Action Cable, and the right --protocol?\n"
    );
}

#[test]
fn messages_in_pieces_are_whole_and_pings_are_answered() {
    let run = measure("fanout", Wrong::Nothing, &PACE);
    assert_eq!(run.figures()["deliveries"], 10);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["server"], "wrong/1");
}

#[test]
fn a_server_that_dies_is_said_to_have() {
    let broker = Broker::start(&[]);
    let (url, pid) = (broker.url(), broker.pid());
    let killer = std::thread::spawn(move || {
        broker.is_published_to(); // all are connected then
        drop(broker);
    });
    let run = bench(&["expire", "--connections=20", "--before=60", "--url", &url, "--pid", &pid]);
    killer.join().unwrap();
    let ended = format!("broker-bench: the server's process {pid} has ended");
    assert!(run.complaint(1).starts_with(&ended), "{run:?}");
}
