//! The beginning of a connection about which the application decides: whether it may connect, and under which name.
//!
//! ```text
//! handshake ─▶ a sid whose session goes on ─▶ resumed, and nobody is asked
//!          └─▶ Connect ─▶ accepted: the application's welcome, and the connection runs
//!                     ├─▶ refused:  the application's message, and the end
//!                     └─▶ no answer: `server_error`, and the client comes back
//! ```
//!
//! A client that goes before its turn leaves the line of connects. Once the application is asked, its answer is waited for:
//! it has to learn that the session it accepted is over.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::connection::{Connection, Greeting};
use super::resume;
use super::start::Start;
use crate::net::admission::Permit;
use crate::net::application::Application;
use crate::net::context::Context;
use crate::outbound::{Recipient, Registration};
use crate::protocol::PingParameters;
use crate::session::{Channels, Session};
use crate::types::{CallFailure, CloseReason, Identifier, Identity, Names, ReplyStatus, SessionId};

/// Maximum number of bytes that are kept of a client that waits to be let in.
const MAX_INPUT: usize = 16 * 1024;

/// A connection about which the application decides.
pub(super) struct Connecting {
    pub(super) context: Arc<Context>,
    pub(super) permit: Permit,
    pub(super) outbox: Recipient,
    pub(super) start: Start,
    pub(super) channels: Box<Channels>,
    pub(super) resume: Option<SessionId>,
    pub(super) ping: PingParameters,
    /// Bytes that the client sent behind its handshake.
    pub(super) read: Bytes,
}

impl Connecting {
    /// Runs the connection to its end. What it takes to open it, some KiB, isn't kept for its life.
    pub(super) fn run(self) -> impl Future<Output = ()> + Send + use<> {
        let opening = Box::pin(self.begin());
        async move {
            if let Some(connection) = opening.await {
                connection.await;
            }
        }
    }

    async fn begin(self) -> Option<Pin<Box<Connection>>> {
        let outbox = Arc::clone(&self.outbox);
        let (context, ping) = (Arc::clone(&self.context), self.ping);
        let connection = self.open().await?;
        context.heartbeat.add(&outbox, ping);
        Some(Box::pin(connection)) // moved as it is, it would have two places in the future that awaits it
    }

    async fn open(self) -> Option<Connection> {
        let Self { context, permit, outbox, start, mut channels, resume, read, .. } = self;
        if let Some(old) = resume {
            let mut session = start.session(&context, &context.access.nobody());
            session = session.as_bearer().with_channels(Some(channels.clone()));
            if let Some((registration, restored)) =
                take_over(&context, &mut session, old, &outbox).await
            {
                let (session, rest) = ((session, registration), (None, Vec::new(), &read));
                let greeting = Greeting::Welcome(restored);
                return Some(Connection::new(context, permit, outbox, session, greeting, rest));
            }
        }
        let Application { caller, patience, .. } = &**context.application.as_ref()?;
        let (sid, channels_resume) = (start.sid, channels.resumes());
        let mut input = BytesMut::new();
        let gone = gone(&outbox, &mut input);
        let reply = Arc::clone(caller).call_for(channels.connect(), *patience, gone).await;
        let reply = reply.unwrap_or(Err(CallFailure::Unreachable));
        let read = if input.is_empty() { read } else { [read, input.freeze()].concat().into() };
        let (messages, reason) = match reply {
            Ok(mut reply) if reply.status == ReplyStatus::Success => {
                channels.connected(&mut reply);
                let client = context.access.nobody().named(&reply.identifiers);
                let session = start.session(&context, &client).by_application();
                let names = client.names(session.identity());
                let registration = context.identities.register(names, &outbox);
                let mut session = session.with_channels(Some(channels));
                if let Some(keeping) = context.keep(&mut session) {
                    keeping.await;
                }
                let session = (session, registration);
                let mut messages = reply.transmissions;
                if channels_resume {
                    for message in &mut messages {
                        add_sid(message, sid);
                    }
                }
                let greeting = Greeting::Messages(messages);
                let rest = (None, Vec::new(), &read);
                return Some(Connection::new(context, permit, outbox, session, greeting, rest));
            }
            Ok(reply) if reply.status == ReplyStatus::Failure => {
                let says = !reply.transmissions.is_empty();
                let own = CloseReason::Unauthorized;
                (reply.transmissions, if says { CloseReason::Application } else { own })
            }
            Ok(_) | Err(_) => (Vec::new(), CloseReason::ServerError),
        };
        tracing::debug!(%sid, reason = reason.as_ref(), "client refused by the application");
        Some(Connection::refused(context, permit, outbox, sid, (&messages, reason)))
    }
}

/// Resumes a session that the application connected. Nobody is asked again.
async fn take_over(
    context: &Arc<Context>,
    session: &mut Session,
    old: SessionId,
    outbox: &Recipient,
) -> Option<(Option<Registration>, Vec<Identifier>)> {
    let owner = context.sessions.owner(old).unwrap_or(Identity::BEARER);
    // before the claim, so that a remote disconnect finds this connection
    let mut registration = register(context, owner, outbox);
    let claim = resume::claim(context, old, Identity::BEARER)?;
    outbox.hold();
    let restored = resume::take_over(context, (old, claim), session, outbox).await;
    if session.identity() == Identity::BEARER {
        return None;
    }
    if owner == Identity::BEARER {
        registration = register(context, session.identity(), outbox); // another node had it
    }
    Some((registration, restored))
}

/// Waits until the client has gone, and keeps what it sends until then. One that sends much isn't looked at any more.
async fn gone(outbox: &Recipient, input: &mut BytesMut) {
    poll_fn(|task| {
        let mut buffer = [0; 1024];
        while input.len() < MAX_INPUT {
            if ready!(outbox.socket().poll_read_ready(task)).is_err() {
                return Poll::Ready(());
            }
            match outbox.socket().try_read(&mut buffer) {
                Ok(0) => return Poll::Ready(()),
                Ok(read) => input.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    })
    .await;
}

/// Adds the sid to a welcome that lacks it, as Rails' does over HTTP: without it an extended client resumes nothing.
fn add_sid(message: &mut String, sid: SessionId) {
    #[derive(Deserialize)]
    struct Welcome<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        sid: Option<IgnoredAny>,
    }
    let Ok(Welcome { kind, sid: None }) = serde_json::from_str(message) else { return };
    if kind == "welcome"
        && let Some(rest) = message.trim_ascii_start().strip_prefix('{')
    {
        *message = format!("{{\"sid\":\"{sid}\",{rest}");
    }
}

fn register(context: &Context, owner: Identity, outbox: &Recipient) -> Option<Registration> {
    let names = Names { identifier: Some(owner.identifier), presence_id: None };
    let is_known = owner != Identity::BEARER;
    is_known.then(|| context.identities.register(names, outbox)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size of what a function gives.
    fn size<T>(_: impl FnOnce(Connecting) -> T) -> usize {
        size_of::<T>()
    }

    #[test]
    fn a_connection_that_was_asked_about_is_as_large_as_any_other() {
        assert!(size(Connecting::begin) > 1000, "what isn't kept");
        let run = size(Connecting::run);
        assert!(run <= 32, "{run}, beside the connection");
    }

    #[test]
    fn a_welcome_has_a_sid() {
        let sid = SessionId::from_bits(7);
        let with_sid = |message: &str| {
            let mut message = message.to_owned();
            add_sid(&mut message, sid);
            message
        };
        let added = format!(r#"{{"sid":"{sid}","type": "welcome","x":1}}"#);
        assert_eq!(with_sid(r#"{"type": "welcome","x":1}"#), added);
        for as_it_is in [
            r#"{"type":"welcome","sid":"x"}"#,
            r#"{"type":"disconnect"}"#,
            r#"{"identifier":"i","message":{"type":"welcome"}}"#,
            "[]",
            "welcome",
        ] {
            assert_eq!(with_sid(as_it_is), as_it_is);
        }
    }
}
