//! Publications over HTTP, on the same thread as the clients: connections that are kept open, each with
//! one request on its way.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::action_cable::ActionCable;
use crate::clock;
use crate::http;
use crate::latency;
use crate::numbers::count;
use crate::target::{self, Url};

/// Publications that may wait for a connection. When there are more, the server takes fewer than it is
/// given, and the rate isn't kept.
pub(crate) const QUEUE: usize = 1024;

/// A socket that says so takes bytes later.
const WAIT: [io::ErrorKind; 2] = [io::ErrorKind::WouldBlock, io::ErrorKind::NotConnected];

/// What is to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication {
    pub(crate) stream: u32,
    /// How many are to get it.
    pub(crate) audience: u64,
}

/// Where and how publications go.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// One or more: which of them takes a stream's publications follows from the stream's number.
    pub(crate) urls: Vec<Url>,
    pub(crate) key: Option<String>,
    /// Bytes of a publication's data.
    pub(crate) size: usize,
}

pub(crate) struct Publishers {
    endpoint: Endpoint,
    /// Spread over the URLs in turn.
    connections: Vec<Connection>,
    /// For each URL, those that wait for a connection.
    queues: Vec<VecDeque<Publication>>,
    /// Publications the server has accepted.
    pub(crate) accepted: u64,
    /// How many deliveries they make.
    pub(crate) expected: u64,
    /// From a request to its answer.
    pub(crate) latency: Histogram<u64>,
    pub(crate) trouble: Option<String>,
}

#[derive(Default)]
struct Connection {
    stream: Option<TcpStream>,
    input: Vec<u8>,
    unsent: Vec<u8>,
    /// Why it can't be written to.
    broken: Option<io::Error>,
    /// What it waits for, and since when.
    flight: Option<(Publication, u64)>,
}

impl Publishers {
    /// With a connection to each URL at least, if with any.
    pub(crate) fn new(endpoint: Endpoint, connections: usize) -> Self {
        let urls = endpoint.urls.len();
        let connections = if connections == 0 { 0 } else { connections.max(urls) };
        Self {
            endpoint,
            connections: (0..connections).map(|_| Connection::default()).collect(),
            queues: (0..urls).map(|_| VecDeque::new()).collect(),
            accepted: 0,
            expected: 0,
            latency: latency::histogram(),
            trouble: None,
        }
    }

    /// None, for a crowd that only listens.
    pub(crate) fn none(&self) -> Self {
        Self::new(self.endpoint.clone(), 0)
    }

    /// The same for other URLs.
    pub(crate) fn to(&self, urls: Vec<Url>, connections: usize) -> Self {
        Self::new(Endpoint { urls, ..self.endpoint.clone() }, connections)
    }

    /// Where publications go.
    pub(crate) fn urls(&self) -> Vec<Url> {
        self.endpoint.urls.clone()
    }

    /// Publishes as soon as a connection is free. Whether there was room for it.
    pub(crate) fn publish(&mut self, publication: Publication) -> bool {
        let place = publication.stream as usize % self.queues.len().max(1);
        let Some(queue) = self.queues.get_mut(place) else { return false };
        let room = queue.len() < QUEUE;
        if room {
            queue.push_back(publication);
        }
        room
    }

    /// Publications that haven't been answered.
    pub(crate) fn pending(&self) -> usize {
        let flying = self.connections.iter().filter(|connection| connection.flight.is_some());
        self.queues.iter().map(VecDeque::len).sum::<usize>() + flying.count()
    }

    /// Publications that were asked for since the last reset.
    pub(crate) fn sent(&self) -> u64 {
        self.accepted + count(self.pending())
    }

    /// How many more would leave at once.
    pub(crate) fn free(&self) -> usize {
        self.connections.len().saturating_sub(self.pending())
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&mut self) {
        (self.accepted, self.expected) = (0, 0);
        self.latency.reset();
    }

    /// Sends what waits over connections that are free.
    pub(super) fn advance(
        &mut self,
        registry: &Registry,
        base: usize,
        cable: &ActionCable,
    ) -> anyhow::Result<()> {
        if self.queues.iter().all(VecDeque::is_empty) {
            return Ok(());
        }
        let urls = self.endpoint.urls.len().max(1);
        for (place, connection) in self.connections.iter_mut().enumerate() {
            if connection.flight.is_some() {
                continue;
            }
            let of = place % urls;
            let Some(url) = self.endpoint.urls.get(of) else { continue };
            let next = self.queues.get_mut(of).and_then(VecDeque::pop_front);
            let Some(publication) = next else { continue };
            if connection.stream.is_none() {
                let number = u32::try_from(place).unwrap_or(0);
                let mut stream = open(url, number)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut stream, Token(base + place), interest)?;
                *connection = Connection { stream: Some(stream), ..Connection::default() };
            }
            connection.unsent = self.endpoint.request(url, publication.stream, cable);
            connection.flight = Some((publication, clock::now()));
            connection.flush();
        }
        Ok(())
    }

    /// Something happened on one of the connections.
    pub(super) fn serve(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        let Some(url) = self.endpoint.urls.get(place % self.endpoint.urls.len().max(1)) else {
            return;
        };
        connection.flush();
        let ended = connection.read();
        while let Some((answer, length)) = http::next(&connection.input) {
            connection.input.drain(..length);
            let Some((publication, since)) = connection.flight.take() else { break };
            if (200..300).contains(&answer.status) {
                self.accepted += 1;
                self.expected += publication.audience;
                let took = (clock::now() - since) / 1000;
                self.latency.saturating_record(took);
            } else if self.trouble.is_none() {
                self.trouble = Some(refusal(url, &answer));
            }
            if answer.last {
                connection.stream = None;
            }
        }
        if let Some(why) = ended {
            if connection.flight.take().is_some() && self.trouble.is_none() {
                self.trouble = Some(format!(
                    "publications to {url} can't be sent, the connection {why}\n\
                     Is --publish-url where the server takes them?"
                ));
            }
            *connection = Connection::default(); // opened anew when it is needed
        }
    }
}

impl Endpoint {
    fn request(&self, url: &Url, stream: u32, cable: &ActionCable) -> Vec<u8> {
        let body = cable.publication(stream, self.size);
        let key = self.key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n"));
        format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{}\
             Content-Length: {}\r\n\r\n{body}",
            url.path,
            url.authority(),
            key.unwrap_or_default(),
            count(body.len()),
        )
        .into_bytes()
    }
}

fn refusal(url: &Url, answer: &http::Answer) -> String {
    let http::Answer { status, body, .. } = answer;
    let hint = match status {
        401 | 403 => "The server wants a key for publications: see --publish-key",
        404 | 405 => "Is --publish-url where the server takes publications?",
        _ => "The server's log may say more.",
    };
    format!("a publication to {url} was refused with {status}: {}\n{hint}", body.trim())
}

impl Connection {
    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(taken) => drop(self.unsent.drain(..taken)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if WAIT.contains(&error.kind()) => return,
                Err(error) => {
                    self.broken.get_or_insert(error); // the first says why
                    return;
                }
            }
        }
    }

    /// Reads all there is. Why the connection has ended, if it has.
    fn read(&mut self) -> Option<String> {
        let stream = self.stream.as_mut()?;
        if let Some(error) = self.broken.take() {
            return Some(format!("broke: {error}"));
        }
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) => return Some("was closed".to_owned()),
                Ok(length) => self.input.extend_from_slice(bytes.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(format!("broke: {error}")),
            }
        }
    }
}

fn open(url: &Url, number: u32) -> anyhow::Result<TcpStream> {
    let address: SocketAddr = url.resolve()?;
    let stream = target::connect(address, number)
        .with_context(|| format!("publications to {url} can't be sent (--publish-url)"))?;
    Ok(TcpStream::from_std(stream))
}
