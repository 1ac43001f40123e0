//! Opening of a connection, from an accepted handshake to its task.

use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::connection::Connection;
use super::resume;
use crate::auth;
use crate::net::admission::Permit;
use crate::net::context::Context;
use crate::net::http_io::{Parts, Watched};
use crate::outbound::{Outbox, Socket, TlsSocket};
use crate::protocol::PingParameters;
use crate::session::Session;
use crate::types::{ClientCommand, Codec, Repeat, SessionId};

/// A connection before its task starts.
pub(in crate::net) struct Opening {
    pub(in crate::net) codec: Codec,
    pub(in crate::net) permit: Permit,
    pub(in crate::net) sid: SessionId,
    pub(in crate::net) admitted: Result<auth::Client, auth::Refused>,
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
        let Self { codec, permit, sid, admitted, resume, repeat, ping, first } = self;
        let outbox = Outbox::new(socket, codec, context.settings.max_outbox);
        let (shared, to) = (Arc::clone(context), Arc::clone(&outbox));
        if resume.is_some() || admitted.is_err() {
            outbox.begin(&std::mem::take(&mut head)); // the next message may take a while
        }
        let client = match admitted {
            Ok(client) => client,
            Err(refused) => {
                context.heartbeat.add(&outbox, ping);
                context.tasks.spawn(Connection::refused(shared, permit, to, sid, refused));
                return;
            }
        };
        if resume.is_some() {
            to.hold();
        }
        let asks = context.fetcher.is_some();
        let mut session = Session::new(sid, &client)
            .repeating(repeat)
            .asking(asks)
            .keeping_names(codec.keeps_names());
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
                let connection =
                    Connection::new(shared, permit, to, session, restored, (first, head, &read));
                beating.heartbeat.add(&outbox, ping);
                drop((outbox, beating, read));
                connection.await;
            });
            return;
        }
        let session = (session, registration);
        let connection =
            Connection::new(shared, permit, to, session, Vec::new(), (first, head, &read));
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
