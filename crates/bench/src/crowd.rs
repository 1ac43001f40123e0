//! Many clients on one poll and one thread.
//!
//! Events are edge-triggered: a socket is read until it gives less than was asked for. What was read
//! is walked frame by frame; what belongs to connecting is dealt with here, the rest is passed to the
//! scenario.

use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::action_cable::ActionCable;
use crate::client::{Client, Joins, Plan, Stage, Taken};
use crate::clock;
use crate::frames::{self, Frame};
use crate::handshake::{self, Handshake};
use crate::publisher::Publishers;
use crate::received::{Classifier, Expected, Received};
use crate::target;

/// What all clients read into, in turn.
const BUFFER: usize = 256 * 1024;

/// Sockets looked at before the scenario has its turn again, so that publications stay on time.
const AT_A_TIME: usize = 128;

/// Tokens from here on are publishers.
const PUBLISHERS: usize = usize::MAX / 2;

/// Another crowd's poll.
const OTHER: Token = Token(usize::MAX / 2 - 1);

/// A scenario's handling of received messages.
pub(crate) trait Listener {
    /// `client` received a message at `now`; `text` is the whole message.
    fn on_message(
        &mut self,
        client: &mut Client,
        received: Received,
        text: &[u8],
        now: u64,
        classifier: &Classifier,
    );
}

/// Ignores all messages.
pub(crate) struct Nobody;

impl Listener for Nobody {
    fn on_message(&mut self, _: &mut Client, _: Received, _: &[u8], _: u64, _: &Classifier) {}
}

pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    pub(crate) publishers: Publishers,
    pub(crate) state: CrowdState,
    /// Clients are spread over them in turn.
    servers: Vec<Server>,
}

/// Where clients connect to, and what they send there first.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) handshake: Handshake,
}

/// State of the run that clients share.
pub(crate) struct CrowdState {
    pub(crate) cable: ActionCable,
    pub(crate) classifier: Classifier,
    buffer: Vec<u8>,
    pub(crate) ready: usize,
    pub(crate) gone: usize,
    /// Events received so far of others and oneself joining: as long as that goes on, so does the server.
    arrivals: u64,
    /// Action Cable's pings that were received.
    pub(crate) pings: u64,
    /// What the server says it is.
    pub(crate) server: Option<String>,
    /// The first thing that went wrong.
    pub(crate) trouble: Option<String>,
}

impl Crowd {
    pub(crate) fn new(
        servers: Vec<Server>,
        cable: ActionCable,
        publishers: Publishers,
    ) -> anyhow::Result<Self> {
        let state = CrowdState {
            cable,
            classifier: Classifier::new(),
            buffer: vec![0; BUFFER],
            ready: 0,
            gone: 0,
            arrivals: 0,
            pings: 0,
            server: None,
            trouble: None,
        };
        let poll = Poll::new().context("no poll can be opened: raise the limit of open files")?;
        let events = Events::with_capacity(AT_A_TIME);
        Ok(Self { poll, events, clients: Vec::new(), publishers, state, servers })
    }

    /// Another one of the same servers, looked at by itself. This one's turn ends when something happens
    /// there.
    pub(crate) fn another(&self) -> anyhow::Result<Self> {
        let none = self.publishers.none();
        let other = Self::new(self.servers.clone(), self.state.cable.clone(), none)?;
        let other_poll = other.poll.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&other_poll), OTHER, Interest::READABLE)
            .context("a poll can't be watched by another")?;
        Ok(other)
    }

    /// Opens a client for each plan, with at most `at_once` on their way, and waits until all have
    /// what they asked for. In a large room a server has much to tell before a join comes back, so
    /// it is given up only when nothing at all is heard of those who come in.
    pub(crate) fn open(
        &mut self,
        plans: &mut dyn ExactSizeIterator<Item = Plan>,
        at_once: usize,
        patience: Duration,
        progress: &ProgressBar,
        listener: &mut impl Listener,
    ) -> anyhow::Result<()> {
        let goal = self.clients.len() + plans.len();
        progress.set_length(plans.len() as u64);
        let before = self.state.ready;
        let mut moved = (clock::now(), self.state.steps());
        while self.state.ready + self.state.gone < goal {
            while self.clients.len() - self.state.ready - self.state.gone < at_once
                && let Some(plan) = plans.next()
            {
                self.add(plan)?;
            }
            self.turn(Duration::from_millis(100), listener)?;
            self.check()?;
            if clock::now() - moved.0 > clock::nanoseconds(patience) {
                self.turn_all(listener)?; // it may be this program that had no time
                self.check()?;
            }
            let (now, steps) = (clock::now(), self.state.steps());
            progress.set_position(self.state.ready.saturating_sub(before) as u64);
            if steps != moved.1 {
                moved = (now, steps);
            } else if now - moved.0 > clock::nanoseconds(patience) {
                bail!(self.standstill(goal, patience));
            }
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Serves whatever happens within `timeout`, or the first things of it.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        listener: &mut impl Listener,
    ) -> anyhow::Result<()> {
        self.publishers.advance(self.poll.registry(), PUBLISHERS, &self.state.cable)?;
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error).context("the poll failed"),
        }
        for event in &self.events {
            let Token(token) = event.token();
            if let Some(publisher) = token.checked_sub(PUBLISHERS) {
                self.publishers.serve(publisher);
                continue;
            }
            let Some(client) = self.clients.get_mut(token) else { continue };
            if client.stage == Stage::Reaching && event.is_writable() {
                let Some(server) = server(&self.servers, client.number) else { continue };
                if let Some(error) = client.refusal() {
                    let unreachable = || target::unreachable(server.address, &error).to_string();
                    self.state.fail(client, unreachable);
                    continue;
                }
                client.stage = Stage::Handshaking;
                client.send(&server.handshake.request);
            } else if event.is_writable() {
                client.flush();
            }
            if event.is_readable() || event.is_error() || event.is_read_closed() {
                self.state.read(client, event.is_read_closed() || event.is_error(), listener);
            }
        }
        Ok(())
    }

    /// Serves all that has happened.
    pub(crate) fn turn_all(&mut self, listener: &mut impl Listener) -> anyhow::Result<()> {
        loop {
            self.turn(Duration::ZERO, listener)?;
            if self.events.iter().count() < AT_A_TIME {
                return Ok(());
            }
        }
    }

    /// Serves until `then`.
    pub(crate) fn serve_until(
        &mut self,
        then: u64,
        listener: &mut impl Listener,
    ) -> anyhow::Result<()> {
        loop {
            let now = clock::now();
            if now >= then {
                return Ok(());
            }
            self.turn(clock::until(then, now).min(Duration::from_millis(100)), listener)?;
        }
    }

    /// What went wrong, as an error.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match self.state.trouble.as_ref().or(self.publishers.trouble.as_ref()) {
            Some(trouble) => bail!(trouble.clone()),
            None => Ok(()),
        }
    }

    /// From now on this is looked for first.
    pub(crate) fn expect(&mut self, expected: Expected) {
        self.state.classifier.expected = expected;
    }

    pub(crate) fn clients(&mut self) -> std::slice::IterMut<'_, Client> {
        self.clients.iter_mut()
    }

    /// One client, and the frames it sends.
    pub(crate) fn client(&mut self, number: usize) -> Option<(&mut Client, &ActionCable)> {
        Some((self.clients.get_mut(number)?, &self.state.cable))
    }

    /// Closes a client's connection.
    pub(crate) fn vanish(&mut self, number: usize) {
        if let Some(client) = self.clients.get_mut(number)
            && client.stage != Stage::Gone
        {
            self.state.ready -= usize::from(client.stage == Stage::Ready);
            self.state.gone += 1;
            client.vanish();
        }
    }

    fn add(&mut self, plan: Plan) -> anyhow::Result<()> {
        let place = self.clients.len();
        let number = u32::try_from(place).context("too many connections")?;
        let server = server(&self.servers, number).context("no server is named")?;
        let mut stream = TcpStream::from_std(target::connect(server.address, number)?);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(place), interest)?;
        self.clients.push(Client::new(stream, number, plan));
        Ok(())
    }

    /// Where those who are on their way have stopped.
    fn standstill(&self, goal: usize, patience: Duration) -> String {
        let what = self.clients.iter().find_map(|client| match client.stage {
            Stage::Reaching => Some("the server doesn't accept the connection"),
            Stage::Handshaking => Some("the server doesn't answer the handshake"),
            Stage::Greeting => Some(
                "the server says no `welcome`: is this Action Cable, and the right --protocol?",
            ),
            Stage::Subscribing(_) => Some(
                "the server doesn't answer the subscription: has it the channel of --identifier? If \
                 not, Rails says so in its log only",
            ),
            Stage::Joining(_) => Some(
                "no connection got the join: does the server know presence, with this --protocol? \
                 AnyCable wants --broker=memory",
            ),
            Stage::Ready | Stage::Gone => None,
        });
        format!(
            "only {} of {goal} connections came to be, and for {patience:?} none: {}",
            self.state.ready,
            what.unwrap_or("they have ended")
        )
    }
}

/// The server of a client.
fn server(servers: &[Server], client: u32) -> Option<&Server> {
    servers.get(client as usize % servers.len().max(1))
}

impl CrowdState {
    /// What has been done of letting clients in; something else whenever that goes on.
    fn steps(&self) -> (usize, u64) {
        (self.ready, self.arrivals)
    }

    /// Reads what a client's socket has.
    fn read(&mut self, client: &mut Client, ended: bool, listener: &mut impl Listener) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while client.stage != Stage::Gone {
            let kept = client.rest.len();
            if buffer.len() < kept + BUFFER / 2 {
                buffer.resize(kept + BUFFER, 0); // one long message, such as a list
            }
            let (rest, room) = buffer.split_at_mut(kept);
            rest.copy_from_slice(&client.rest);
            match client.take(room) {
                Taken::Bytes(length) => {
                    let drained = length < room.len() && !ended;
                    let bytes = buffer.get(..kept + length).unwrap_or_default();
                    self.walk(client, bytes, listener);
                    if drained {
                        break;
                    }
                }
                Taken::Nothing => break,
                Taken::End(error) => {
                    let why = error.map(|error| format!(" ({error})")).unwrap_or_default();
                    let stage = client.stage;
                    self.fail(client, || match stage {
                        Stage::Reaching | Stage::Handshaking => format!(
                            "the server closed a connection without answering the handshake{why}"
                        ),
                        Stage::Greeting
                        | Stage::Subscribing(_)
                        | Stage::Joining(_)
                        | Stage::Ready
                        | Stage::Gone => format!("the server ended a connection{why}"),
                    });
                }
            }
        }
        self.buffer = buffer;
    }

    /// Walks what a client read, and keeps what isn't complete.
    fn walk(&mut self, client: &mut Client, bytes: &[u8], listener: &mut impl Listener) {
        let now = clock::now();
        let mut bytes = bytes;
        if client.stage == Stage::Handshaking {
            match handshake::answer(bytes) {
                Ok(None) => {}
                Ok(Some(welcome)) => {
                    bytes = bytes.get(welcome.length..).unwrap_or_default();
                    client.stage = Stage::Greeting;
                    if self.server.is_none() {
                        self.server = welcome.server;
                    }
                }
                Err(refusal) => return self.fail(client, || refusal.to_string()),
            }
        }
        while !matches!(client.stage, Stage::Gone | Stage::Handshaking) {
            match frames::next(bytes) {
                Ok(None) => break,
                Ok(Some((frame, after))) => {
                    self.receive(client, frame, now, listener);
                    bytes = after;
                }
                Err(breach) => {
                    return self.fail(client, || format!("the server sent {breach}"));
                }
            }
        }
        client.rest.clear();
        if bytes.is_empty() {
            client.rest = Vec::new(); // idle clients hold nothing
        } else {
            client.rest.extend_from_slice(bytes);
        }
    }

    fn receive(
        &mut self,
        client: &mut Client,
        frame: Frame<'_>,
        now: u64,
        listener: &mut impl Listener,
    ) {
        match frame {
            Frame::Message(text) => self.on_message(client, text, now, listener),
            Frame::Piece(piece, last) => {
                client.pieces.extend_from_slice(piece);
                if last {
                    let text = std::mem::take(&mut client.pieces);
                    self.on_message(client, &text, now, listener);
                }
            }
            Frame::Ping(payload) => client.send(&frames::pong(payload)),
            Frame::Pong => {}
            Frame::Close(code, reason) => self.fail(client, || {
                let code = code.map_or("no code".to_owned(), |code| format!("code {code}"));
                format!("the server closed a connection: {code} {reason}")
            }),
        }
    }

    fn on_message(
        &mut self,
        client: &mut Client,
        text: &[u8],
        now: u64,
        listener: &mut impl Listener,
    ) {
        let received = self.classifier.classify(text);
        let is_arrival =
            matches!(received, Received::Welcome | Received::Confirmed | Received::Joined);
        self.arrivals += u64::from(is_arrival);
        match (received, client.stage) {
            (Received::Ping, _) => self.pings += 1,
            (Received::Welcome, Stage::Greeting) => {
                client.subscribe(&self.cable);
                self.proceed(client);
            }
            (Received::Confirmed, Stage::Subscribing(awaited)) => {
                client.stage = Stage::Subscribing(awaited.saturating_sub(1));
                self.proceed(client);
            }
            (Received::Listed, Stage::Joining(awaited)) if client.plan.joins == Joins::Listed => {
                if self.classifier.lists(text, client.number) {
                    client.stage = Stage::Joining(awaited.saturating_sub(1));
                    self.proceed(client);
                } else {
                    self.note(|| "a member isn't in the list that it asked for".to_owned());
                }
                listener.on_message(client, received, text, now, &self.classifier);
            }
            (Received::Joined, Stage::Joining(awaited)) => {
                if client.plan.joins == Joins::Told
                    && self.classifier.member(text) == Some(client.number)
                {
                    client.stage = Stage::Joining(awaited.saturating_sub(1));
                    self.proceed(client);
                }
                listener.on_message(client, received, text, now, &self.classifier);
            }
            (Received::Rejected, _) => {
                let identifier = self.cable.identifier(client.stream());
                self.fail(client, || {
                    format!(
                        "the subscription was rejected: {identifier}\n\
                         Are plain stream names allowed (a server with a secret wants signed ones; \
                         AnyCable wants --public_streams)?\nElse write the identifier of a channel that \
                         this server has, with --identifier."
                    )
                });
            }
            (Received::Disconnect, _) => {
                self.fail(client, || {
                    let hint = if memchr::memmem::find(text, b"unauthorized").is_some() {
                        "\nThe server wants to know who connects: see --token, --origin and --header"
                    } else {
                        ""
                    };
                    let said = String::from_utf8_lossy(text);
                    format!("the server ended a connection: {said}{hint}")
                });
            }
            (Received::Refused, _) => {
                let said = String::from_utf8_lossy(text).into_owned();
                self.note(|| format!("the server refused a command: {said}"));
            }
            _ => listener.on_message(client, received, text, now, &self.classifier),
        }
    }

    /// Goes on with the plan of a client when a step of it is done.
    fn proceed(&mut self, client: &mut Client) {
        if client.stage == Stage::Subscribing(0) && client.plan.joins != Joins::No {
            client.join(&self.cable);
        }
        if matches!(client.stage, Stage::Subscribing(0) | Stage::Joining(0)) {
            client.stage = Stage::Ready;
            self.ready += 1;
        }
    }

    /// A connection has ended.
    fn fail(&mut self, client: &mut Client, why: impl FnOnce() -> String) {
        if client.stage == Stage::Gone {
            return;
        }
        if client.stage == Stage::Ready {
            self.ready -= 1;
        }
        client.stage = Stage::Gone;
        self.gone += 1;
        self.note(why);
    }

    fn note(&mut self, trouble: impl FnOnce() -> String) {
        if self.trouble.is_none() {
            self.trouble = Some(trouble());
        }
    }
}
