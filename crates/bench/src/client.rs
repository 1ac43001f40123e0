//! One client: a socket, what it has asked for, and how far it has come.
//!
//! It has no buffer of its own: what it reads goes through the one of the crowd, and only the rest of
//! a frame that isn't complete stays here.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use crate::action_cable::ActionCable;

/// What a client is to do when it is let in.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The streams it subscribes to.
    pub(crate) streams: Box<[u32]>,
    /// Whether it joins them.
    pub(crate) joins: Joins,
}

/// Whether a client joins its streams, and how it learns that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    No,
    /// It hears of itself.
    Told,
    /// It is in the list. A return makes no event.
    Listed,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The socket isn't connected.
    Reaching,
    /// The handshake was sent.
    Handshaking,
    /// Waits for `welcome`.
    Greeting,
    /// Waits for so many confirmations.
    Subscribing(u32),
    /// Waits to hear of so many joins of its own, or for so many lists with itself.
    Joining(u32),
    /// Has all it asked for.
    Ready,
    /// Its connection has ended.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Client {
    /// Nothing once it is closed.
    stream: Option<TcpStream>,
    /// Which one of the crowd it is; its presence id tells it, too.
    pub(crate) number: u32,
    pub(crate) stage: Stage,
    pub(crate) plan: Plan,
    /// The rest of a frame.
    pub(super) rest: Vec<u8>,
    /// The pieces of a message.
    pub(super) pieces: Vec<u8>,
    /// What the socket didn't take.
    unsent: Vec<u8>,
}

/// What a read brought.
#[derive(Debug)]
pub(crate) enum Taken {
    Bytes(usize),
    Nothing,
    End(Option<io::Error>),
}

impl Client {
    pub(crate) fn new(stream: TcpStream, number: u32, plan: Plan) -> Self {
        let (rest, pieces, unsent) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream: Some(stream), number, stage: Stage::Reaching, plan, rest, pieces, unsent }
    }

    /// Why it couldn't connect, if it couldn't.
    pub(crate) fn refusal(&self) -> Option<io::Error> {
        self.stream.as_ref()?.take_error().unwrap_or_else(Some)
    }

    /// Sends, now or when the socket takes it. That the connection has ended is noticed by reading.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(taken) => drop(self.unsent.drain(..taken)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        self.unsent = Vec::new();
    }

    pub(crate) fn take(&mut self, into: &mut [u8]) -> Taken {
        let Some(stream) = &mut self.stream else { return Taken::Nothing };
        loop {
            return match stream.read(into) {
                Ok(0) => Taken::End(None),
                Ok(length) => Taken::Bytes(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Taken::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Taken::End(Some(error)),
            };
        }
    }

    /// Subscribes to all its streams.
    pub(crate) fn subscribe(&mut self, cable: &ActionCable) {
        let commands: Vec<u8> =
            self.plan.streams.iter().flat_map(|stream| cable.subscribe(*stream)).collect();
        self.stage = Stage::Subscribing(self.awaited());
        self.send(&commands);
    }

    /// Joins all its streams, and asks for their lists if these are what it waits for.
    pub(crate) fn join(&mut self, cable: &ActionCable) {
        let mut commands = Vec::new();
        for stream in &self.plan.streams {
            commands.extend(cable.join(*stream, self.number));
            if self.plan.joins == Joins::Listed {
                commands.extend(cable.list(*stream));
            }
        }
        self.stage = Stage::Joining(self.awaited());
        self.send(&commands);
    }

    /// The one stream of a client that has one.
    pub(crate) fn stream(&self) -> u32 {
        self.plan.streams.first().copied().unwrap_or(0)
    }

    /// Ends the connection without a word, as the end of a process does.
    pub(crate) fn vanish(&mut self) {
        self.stage = Stage::Gone;
        self.stream = None;
    }

    fn awaited(&self) -> u32 {
        u32::try_from(self.plan.streams.len()).unwrap_or(u32::MAX)
    }
}
