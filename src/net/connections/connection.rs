//! One connection's task: reads frames, passes them to the session, drains the outbox.
//!
//! A hand-written future, because there are many connections and most are idle. It holds no buffer while
//! idle. Its poll for readiness replaces the waker that the handshake registered; `readable()` would keep
//! the handshake's task alive.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, End, Waits};
use crate::net::admission::Permit;
use crate::net::context::Context;
use crate::outbound::{Message, Recipient, Registration};
use crate::protocol;
use crate::protocol::websocket::{Event, Reader, Violation};
use crate::session::Session;
use crate::types::{
    ClientCommand, CloseReason, ConnectionMessage, Identifier, Identity, Request, SessionId,
    Transport,
};

/// Size of the read buffer, in bytes. All connections of a thread share one.
const READ_BUFFER: usize = 16 * 1024;

/// Number of reads before other connections get their turn.
const READS_A_TURN: usize = 4;

/// Maximum time for which a closing connection waits for the client to read the last frames and to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

thread_local! {
    /// Buffers for received bytes and for answers, used while a connection is polled.
    static SCRATCH: RefCell<(Box<[u8]>, Vec<u8>)> =
        RefCell::new((vec![0; READ_BUFFER].into_boxed_slice(), Vec::new()));
}

/// The first messages of a connection.
#[derive(Debug)]
pub enum Greeting {
    /// The protocol's welcome, with the subscriptions of a resumed session.
    Welcome(Vec<Identifier>),
    /// Those of the application.
    Messages(Vec<String>),
}

/// A connection, from the welcome to the end of its socket.
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    client: Client,
}

// With what tokio adds to a task it fills the size class of 256 bytes; it would take 384 otherwise.
const _: () = assert!(size_of::<Connection>() <= 144);

impl Connection {
    /// Sends the greeting. `registration` makes the
    /// connection reachable by remote disconnects. `first` is a command that the handshake implies, `head`
    /// the bytes to send before the welcome, and `read` the bytes received with the handshake, for which
    /// the socket won't signal readiness.
    pub fn new(
        context: Arc<Context>,
        permit: Permit,
        outbox: Recipient,
        (session, registration): (Session, Option<Registration>),
        greeting: Greeting,
        (first, head, read): (Option<ClientCommand<'static>>, Vec<u8>, &Bytes),
    ) -> Self {
        if outbox.codec().resumes() && session.may_be_resumed() {
            context.sessions.connect(&session, &outbox);
        }
        let registration = registration.map(Box::new);
        let client = Client::new(context, permit, outbox, session, registration);
        let mut connection = Self { reader: Reader::new(), client };
        connection.greet(greeting, first, head, read);
        connection
    }

    /// A connection that only sends messages and the reason of its refusal.
    pub fn refused(
        context: Arc<Context>,
        permit: Permit,
        outbox: Recipient,
        sid: SessionId,
        (messages, reason): (&[String], CloseReason),
    ) -> Self {
        let mut frames = Vec::new();
        for message in messages {
            protocol::encode_message(outbox.codec(), message, &mut frames);
        }
        outbox.begin(&frames);
        outbox.close(reason);
        let session = Session::restored(sid, Identity::ANYONE);
        let client = Client::new(context, permit, outbox, session, None);
        Self { reader: Reader::new(), client }
    }

    fn greet(
        &mut self,
        greeting: Greeting,
        first: Option<ClientCommand<'static>>,
        mut out: Vec<u8>,
        read: &Bytes,
    ) {
        let head = out.len();
        let codec = self.client.outbox.codec();
        match greeting {
            Greeting::Welcome(restored) => {
                let sid = self.client.session.id();
                let welcome = ConnectionMessage::Welcome { sid, restored };
                protocol::encode_connection(codec, &welcome, None, &mut out);
            }
            Greeting::Messages(messages) => {
                for message in messages {
                    protocol::encode_message(codec, &message, &mut out);
                }
            }
        }
        let sent = self.client.outbox.begin(&out).saturating_sub(head);
        self.client.context.instruments.sent_bytes.increment(sent as u64);
        let flow = first.map_or(ControlFlow::Continue(()), |command| {
            out.clear();
            let flow = self.client.request(Request::unnamed(Ok(command)), &mut out);
            self.client.send(&out);
            flow
        });
        if read.is_empty() {
            return;
        }
        if flow.is_break() {
            return self.reader.hold(read);
        }
        out.clear();
        self.feed(&mut read.to_vec(), &mut out);
        self.client.send(&out);
    }

    /// Handles received bytes; answers go to `out`.
    fn feed(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) {
        let client = &mut self.client;
        let max = client.context.settings.max_message;
        client.context.instruments.received_bytes.increment(bytes.len() as u64);
        client.outbox.hear(client.context.heartbeat.beat());
        if client.outbox.codec().transport() == Transport::EventStream {
            return; // such a client sends nothing after its request
        }
        let result = self.reader.feed(bytes, max, &mut |event| client.handle(event, out));
        self.check(result, out);
    }

    /// Handles posted messages, until the client has to wait; returns whether there were any.
    fn take_posts(&mut self) -> bool {
        let (mut out, mut taken) = (Vec::new(), 0);
        while taken < READ_BUFFER
            && let Some(message) = self.client.outbox.socket().try_receive()
        {
            let client = &mut self.client;
            taken += message.payload().len().max(1);
            client.context.instruments.received_bytes.increment(message.payload().len() as u64);
            let is_too_big = message.payload().len() > client.context.settings.max_message;
            let event = match &message {
                _ if is_too_big => Err(Violation::TooBig),
                Message::Text(text) => {
                    str::from_utf8(text).map(Event::Text).map_err(|_| Violation::InvalidText)
                }
                Message::Binary(_) => Ok(Event::Binary),
            };
            let flow = match event {
                Ok(event) => client.handle(event, &mut out),
                Err(violation) => {
                    self.check(Err(violation), &mut out);
                    ControlFlow::Break(())
                }
            };
            if flow.is_break() {
                break;
            }
        }
        self.client.send(&out);
        taken > 0
    }

    /// Handles the bytes that were held while a shard had no room.
    fn resume(&mut self, out: &mut Vec<u8>) {
        let client = &mut self.client;
        let max = client.context.settings.max_message;
        let result = self.reader.resume(max, &mut |event| client.handle(event, out));
        self.check(result, out);
    }

    fn check(&mut self, result: Result<(), Violation>, out: &mut Vec<u8>) {
        let Err(violation) = result else { return };
        tracing::debug!(sid = %self.client.session.id(), %violation, "closing a connection that broke the protocol");
        let reason = match violation {
            Violation::Protocol(_) => CloseReason::ProtocolError,
            Violation::InvalidText => CloseReason::InvalidText,
            Violation::TooBig => CloseReason::MessageTooBig,
        };
        self.client.send(out);
        out.clear();
        self.client.outbox.close(reason);
    }

    /// Reads until nothing is left, the client has to wait, or the connection closes.
    fn poll_open(&mut self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        for _ in 0..READS_A_TURN {
            if self.client.outbox.closing().is_some() {
                return Poll::Ready(Ok(()));
            }
            if self.client.waits.is_some() || self.client.session.is_asking() {
                let mut out = Vec::new();
                let waits = self.client.poll_waits(task, &mut out);
                self.client.send(&out);
                ready!(waits);
            }
            if self.client.outbox.has_too_many_queries() {
                return Poll::Pending; // the shard that takes a question wakes it
            }
            if self.reader.is_held() {
                let mut out = Vec::new();
                self.resume(&mut out);
                self.client.send(&out);
                continue;
            }
            ready!(self.client.outbox.socket().poll_read_ready(task))?;
            if self.client.outbox.codec().transport() == Transport::LongPolling && self.take_posts()
            {
                continue;
            }
            SCRATCH.with_borrow_mut(|(buffer, out)| {
                let read = match self.client.outbox.socket().try_read(buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                };
                out.clear();
                self.feed(buffer.get_mut(..read).unwrap_or_default(), out);
                self.client.send(out);
                Ok(())
            })?;
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_end(&mut self, task: &mut Task<'_>) -> Poll<()> {
        let Some(mut waits) = self.client.waits.take() else { return Poll::Ready(()) };
        let over = match &mut waits.end {
            Some(end) => self.poll_ending(task, end),
            None => Poll::Ready(()),
        };
        self.client.waits = Some(waits);
        over
    }

    /// Sends the last frames, then waits for the client to close: closing a socket with unread input
    /// resets it and discards them.
    fn poll_ending(&mut self, task: &mut Task<'_>, end: &mut End) -> Poll<()> {
        let mut sent = 0;
        let drained = self.client.outbox.poll_drain(task, &mut sent);
        self.client.context.instruments.sent_bytes.increment(sent as u64);
        if let Poll::Ready(Err(_)) = drained {
            return Poll::Ready(());
        }
        if drained.is_ready() && end.client_closed && !end.half_closed {
            end.half_closed = true;
            self.client.outbox.shutdown(Shutdown::Write);
        }
        while let Poll::Ready(readable) = self.client.outbox.socket().poll_read_ready(task) {
            let gone = readable.is_err()
                || SCRATCH.with_borrow_mut(|(buffer, out)| self.discard(buffer, out, end));
            if gone {
                return Poll::Ready(());
            }
        }
        if drained.is_ready() && end.client_closed && !end.half_closed {
            end.half_closed = true;
            self.client.outbox.shutdown(Shutdown::Write);
        }
        ready!(end.timeout.as_mut().poll(task));
        if self.client.outbox.finish_close() {
            // the shards' last messages took too long: now the close frame is sent
            end.timeout = Box::pin(tokio::time::sleep(CLOSE_TIMEOUT));
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Reads and discards everything but the client's close frame. Returns whether the socket is at its end.
    fn discard(&mut self, buffer: &mut [u8], out: &mut Vec<u8>, end: &mut End) -> bool {
        while self.client.outbox.socket().try_receive().is_some() {}
        match self.client.outbox.socket().try_read(buffer) {
            Ok(0) => true,
            Ok(read) => {
                let max = self.client.context.settings.max_message;
                let bytes = buffer.get_mut(..read).unwrap_or_default();
                out.clear();
                let closed = &mut end.client_closed;
                let result = self.reader.feed(bytes, max, &mut |event| {
                    *closed |= matches!(event, Event::Close(_));
                    ControlFlow::Continue(())
                });
                end.client_closed |= result.is_err();
                false
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Ends the session at once, without waiting for the socket.
    fn begin_end(&mut self, reason: CloseReason) {
        self.client.end_session(reason);
        let has_close = self.client.outbox.codec().transport() == Transport::WebSocket;
        let client_closed = match reason {
            _ if !has_close => true, // other transports have no close frame
            CloseReason::ClientClosed
            | CloseReason::ClientGone
            | CloseReason::ProtocolError
            | CloseReason::InvalidText
            | CloseReason::MessageTooBig => true,
            CloseReason::NoPong
            | CloseReason::TooSlow
            | CloseReason::TooFast
            | CloseReason::ServerRestart { .. }
            | CloseReason::UnsupportedData
            | CloseReason::Unauthorized
            | CloseReason::TokenExpired
            | CloseReason::Resumed
            | CloseReason::Application
            | CloseReason::ServerError
            | CloseReason::Remote { .. } => false,
        };
        let timeout = Box::pin(tokio::time::sleep(CLOSE_TIMEOUT));
        let end = Some(End { timeout, client_closed, half_closed: false });
        self.client.waits = Some(Box::new(Waits { end, ..Waits::default() }));
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let connection = &mut *self;
        connection.client.outbox.register(task);
        if !connection.client.is_ending() {
            let mut sent = 0;
            let drained = connection.client.outbox.poll_drain(task, &mut sent);
            if sent > 0 {
                connection.client.context.instruments.sent_bytes.increment(sent as u64);
            }
            let gone = match (drained, connection.poll_open(task)) {
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => true,
                (_, Poll::Ready(Ok(()))) => false,
                (_, Poll::Pending) => return Poll::Pending,
            };
            if gone {
                connection.client.outbox.close(CloseReason::ClientGone);
            }
            let reason = connection.client.outbox.closing().unwrap_or(CloseReason::ClientGone);
            connection.begin_end(reason);
            if reason == CloseReason::ClientGone {
                return Poll::Ready(());
            }
        }
        connection.poll_end(task)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // cleans up after a dropped or panicked task, too
        if !self.client.is_ending() {
            self.client.outbox.close(CloseReason::ClientGone);
            let reason = self.client.outbox.closing().unwrap_or(CloseReason::ClientGone);
            self.client.end_session(reason);
        }
        self.client.outbox.shutdown(Shutdown::Both);
    }
}
