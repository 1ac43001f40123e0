//! Opening of a connection, from an accepted handshake to its task.

use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::connecting::Connecting;
use super::connection::{Connection, Greeting};
use super::resume;
use super::start::Start;
use crate::auth;
use crate::net::admission::Permit;
use crate::net::context::Context;
use crate::net::http_io::{Parts, Watched};
use crate::outbound::{Outbox, Socket, TlsSocket};
use crate::protocol::PingParameters;
use crate::session::Channels;
use crate::types::{ClientCommand, Codec, Origin, Repeat, SessionId};

/// What the application has a say in: the client's channels, at least.
#[derive(Debug)]
pub(in crate::net) struct Asked {
    /// What it learns of the handshake.
    pub(in crate::net) origin: Arc<Origin>,
    /// Whether it decides about the client, too.
    pub(in crate::net) connects: bool,
    /// Whether the client resumes its session when it reconnects.
    pub(in crate::net) resumes: bool,
}

/// A connection before its task starts.
pub(in crate::net) struct Opening {
    pub(in crate::net) codec: Codec,
    pub(in crate::net) permit: Permit,
    pub(in crate::net) sid: SessionId,
    pub(in crate::net) admitted: Result<auth::Client, auth::Refused>,
    /// What the application has a say in, if it has one.
    pub(in crate::net) asked: Option<Asked>,
    /// The session to resume.
    pub(in crate::net) resume: Option<SessionId>,
    /// When repeated subscribes are confirmed.
    pub(in crate::net) repeat: Repeat,
    pub(in crate::net) ping: PingParameters,
    /// A command that the handshake implies.
    pub(in crate::net) first: Option<ClientCommand<'static>>,
}

impl Opening {
    /// Takes the socket out of hyper and starts the connection's task.
    pub(in crate::net) fn start(self, context: &Arc<Context>, upgraded: Upgraded) {
        let Some((socket, head, read)) = take_out(upgraded) else {
            tracing::error!("failed to take a socket out of its HTTP connection");
            return;
        };
        self.run(context, socket, head, read);
    }

    /// Starts the task of a connection over a socket. `head` is the unsent rest of the handshake's
    /// response; `read` are bytes that the client sent behind its handshake.
    pub(in crate::net) fn run(
        self,
        context: &Arc<Context>,
        socket: Box<dyn Socket>,
        mut head: Vec<u8>,
        read: Bytes,
    ) {
        let Self { codec, permit, sid, admitted, asked, resume, repeat, ping, first } = self;
        let outbox = Outbox::new(socket, codec, context.settings.max_outbox);
        let (shared, to) = (Arc::clone(context), Arc::clone(&outbox));
        let connects = asked.as_ref().is_some_and(|asked| asked.connects);
        if resume.is_some() || admitted.is_err() || connects {
            outbox.begin(&std::mem::take(&mut head)); // the next message may take a while
        }
        let client = match admitted {
            Ok(client) => client,
            Err(refused) => {
                context.heartbeat.add(&outbox, ping);
                tracing::debug!(%sid, reason = %refused, "client refused");
                let last = (&[][..], refused.reason());
                context.tasks.spawn(Connection::refused(shared, permit, to, sid, last));
                return;
            }
        };
        let start = Start { sid, codec, repeat };
        let channels = asked.as_ref().map(|Asked { origin, resumes, .. }| {
            let identifiers = client.identifier.as_deref().unwrap_or_default();
            let channels = Channels::new(sid, Arc::clone(origin), identifiers, *resumes);
            let mut channels = channels.keeping(context.router.keeps_sessions());
            if context.application.as_ref().is_some_and(|it| it.tells(&channels)) {
                channels.change(); // it learns the end of every session
            }
            Box::new(channels)
        });
        if let (Some(channels), true) = (&channels, connects) {
            let (channels, outbox) = (channels.clone(), to);
            let connecting =
                Connecting { context: shared, permit, outbox, start, channels, resume, ping, read };
            context.tasks.spawn(connecting.run());
            return;
        }
        if resume.is_some() {
            to.hold();
        }
        let mut session = start.session(context, &client).with_channels(channels);
        // before the claim, so that a remote disconnect finds this connection
        let names = client.names(session.identity());
        let registration = context.identities.register(names, &outbox);
        let claim = |old| Some((old, resume::claim(context, old, session.identity())?));
        if let Some(claim) = resume.and_then(claim) {
            // resumes are rare; a future of their own keeps other connections' tasks small
            context.tasks.spawn(async move {
                let restored = resume::take_over(&shared, claim, &mut session, &to).await;
                let beating = Arc::clone(&shared);
                let session = (session, registration);
                let greeting = Greeting::Welcome(restored);
                let connection =
                    Connection::new(shared, permit, to, session, greeting, (first, head, &read));
                beating.heartbeat.add(&outbox, ping);
                drop((outbox, beating, read));
                connection.await;
            });
            return;
        }
        if let Some(keeping) = context.keep(&mut session) {
            context.tasks.spawn(keeping);
        }
        let session = (session, registration);
        let greeting = Greeting::Welcome(Vec::new());
        let connection =
            Connection::new(shared, permit, to, session, greeting, (first, head, &read));
        context.heartbeat.add(&outbox, ping);
        drop(read); // even an empty one can hold on to hyper's buffer
        context.tasks.spawn(connection);
    }
}

/// The socket below HTTP, its unsent bytes, and the bytes read beyond the handshake.
fn take_out(upgraded: Upgraded) -> Option<(Box<dyn Socket>, Vec<u8>, Bytes)> {
    fn socket<S: Socket>(parts: Parts<S>, read: Bytes) -> (Box<dyn Socket>, Vec<u8>, Bytes) {
        (Box::new(parts.io), parts.unsent, join(read, &parts.ahead))
    }
    let upgraded = match upgraded.downcast::<TokioIo<Watched<TcpStream>>>() {
        Ok(parts) => return Some(socket(parts.io.into_inner().into_parts()?, parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<Watched<TlsSocket>>>().ok()?;
    Some(socket(parts.io.into_inner().into_parts()?, parts.read_buf))
}

/// Bytes that hyper has read, followed by those read ahead of it.
fn join(read: Bytes, ahead: &[u8]) -> Bytes {
    if ahead.is_empty() { read } else { Bytes::from([&read, ahead].concat()) }
}
