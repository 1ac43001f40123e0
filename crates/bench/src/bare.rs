//! The least a server can do, as a yardstick: it sends each publication to each subscriber, one write each,
//! and knows nothing else. No presence, no pings, no history, no limits, and no client but this program's.
//!
//! What a real server takes for a delivery can't be much less than this: it is nearly all the kernel's.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::frames;
use crate::handshake;

/// The listener's token; connections have their place.
const LISTENER: Token = Token(usize::MAX);

const BUFFER: usize = 64 * 1024;

/// Serves until it is killed.
#[derive(Debug, clap::Args)]
pub(crate) struct Bare {
    /// The port, on loopback; 0 is any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    /// Who follows each stream, with the identifier it is known by.
    streams: HashMap<String, (String, Vec<usize>)>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Whether the handshake is over.
    open: bool,
    input: Vec<u8>,
    unsent: Vec<u8>,
}

impl Bare {
    pub(crate) fn serve(&self) -> anyhow::Result<()> {
        rlimit::increase_nofile_limit(u64::MAX).context("the limit of open files can't be read")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut listener = TcpListener::bind(address)
            .with_context(|| format!("{address} can't be listened on: choose another --port"))?;
        let poll = Poll::new().context("no poll can be opened")?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let address = listener.local_addr()?;
        writeln!(io::stderr(), "broker-bench: the bare server is at ws://{address}/cable")?;
        let (connections, streams, buffer) = (Vec::new(), HashMap::new(), vec![0; BUFFER]);
        let mut server = Server { poll, listener, connections, streams, buffer };
        let mut events = Events::with_capacity(1024);
        loop {
            match server.poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => server.accept()?,
                    Token(place) => server.wake(place),
                }
            }
        }
    }
}

impl Server {
    fn accept(&mut self) -> anyhow::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let place = self.connections.len();
            stream.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(place), interest)?;
            let (input, unsent) = (Vec::new(), Vec::new());
            self.connections.push(Some(Connection { stream, open: false, input, unsent }));
        }
        Ok(())
    }

    /// Something happened on a connection.
    fn wake(&mut self, place: usize) {
        let Some(mut connection) = self.connections.get_mut(place).and_then(Option::take) else {
            return;
        };
        connection.flush();
        let lives = connection.read(&mut self.buffer);
        let mut commands = Vec::new();
        let mut publications = Vec::new();
        while let Some(asked) = connection.next() {
            match asked {
                Asked::Answered => {}
                Asked::Command(command) => commands.push(command),
                Asked::Publication(publication) => publications.push(publication),
            }
        }
        if connection.input.is_empty() {
            connection.input = Vec::new();
        }
        for command in commands {
            self.subscribe(place, &mut connection, &command);
        }
        if lives && let Some(slot) = self.connections.get_mut(place) {
            *slot = Some(connection);
        }
        for publication in publications {
            self.publish(&publication);
        }
    }

    fn subscribe(&mut self, place: usize, connection: &mut Connection, command: &Value) {
        let identifier = command.get("identifier").and_then(Value::as_str).unwrap_or_default();
        let named: Value = serde_json::from_str(identifier).unwrap_or_default();
        let Some(stream) = named.get("stream_name").and_then(Value::as_str) else {
            let refusal = json!({"type": "reject_subscription", "identifier": identifier});
            return connection.send(&frames::served(refusal.to_string().as_bytes()));
        };
        let subscribers = self.streams.entry(stream.to_owned());
        let (_, places) = subscribers.or_insert_with(|| (identifier.to_owned(), Vec::new()));
        places.push(place);
        let answer = json!({"identifier": identifier, "type": "confirm_subscription"});
        connection.send(&frames::served(answer.to_string().as_bytes()));
    }

    fn publish(&mut self, publication: &Value) {
        let text = |key: &str| publication.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some((identifier, places)) = self.streams.get(text("stream")) else { return };
        let identifier = Value::from(identifier.as_str());
        let message = format!(r#"{{"identifier":{identifier},"message":{}}}"#, text("data"));
        let frame = frames::served(message.as_bytes());
        for place in places {
            if let Some(Some(connection)) = self.connections.get_mut(*place) {
                connection.send(&frame);
            }
        }
    }
}

/// What a client asked for.
enum Asked {
    /// It has its answer.
    Answered,
    Command(Value),
    Publication(Value),
}

impl Connection {
    /// Whether it goes on.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    self.input.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// The first thing that was asked for and is there in full.
    fn next(&mut self) -> Option<Asked> {
        if self.open {
            let (payload, length) = frames::asked(&self.input)?;
            self.input.drain(..length);
            return Some(serde_json::from_slice(&payload).map_or(Asked::Answered, Asked::Command));
        }
        let head_length = memchr::memmem::find(&self.input, b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(self.input.get(..head_length)?).into_owned();
        if head.starts_with("GET ") {
            self.input.drain(..head_length);
            self.open = true;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Server: bare\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                handshake::ACCEPT
            );
            self.send(answer.as_bytes());
            self.send(&frames::served(br#"{"type":"welcome"}"#));
            return Some(Asked::Answered);
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let body = self.input.get(head_length..head_length + length.unwrap_or(0))?;
        let publication = serde_json::from_slice(body).ok();
        self.input.drain(..head_length + length.unwrap_or(0));
        self.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
        Some(publication.map_or(Asked::Answered, Asked::Publication))
    }

    /// One write, and the rest when the socket takes it.
    fn send(&mut self, bytes: &[u8]) {
        let taken = if self.unsent.is_empty() { self.stream.write(bytes).unwrap_or(0) } else { 0 };
        self.unsent.extend_from_slice(bytes.get(taken..).unwrap_or_default());
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(taken) => drop(self.unsent.drain(..taken)),
                Err(_) => return,
            }
        }
        self.unsent = Vec::new();
    }
}
