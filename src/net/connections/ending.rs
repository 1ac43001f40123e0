//! The end of a connection, told to the streams it followed, and then to those who may take its
//! session over: so whoever does finds all its subscriptions waiting.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answers::{Answers, Blocked, input};
use crate::net::context::Context;
use crate::node::{Ended, Goodbye};
use crate::outbound::{Recipient, Registration};
use crate::session::{Action, Session};
use crate::shard::SubscriberKey;
use crate::types::{CloseReason, GroupKey};

/// How long what a client asked before its connection ended waits for the streams' answers. For those of
/// the application it waits as long as these may take.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A connection that has ended.
pub(super) struct Ending {
    pub(super) session: Session,
    pub(super) outbox: Recipient,
    pub(super) registration: Option<Box<Registration>>,
    pub(super) reason: CloseReason,
    /// When it was noticed.
    pub(super) at: Instant,
}

impl Ending {
    /// Follows what the client asked before, wherever it waits, and then tells everyone.
    pub(super) async fn follow(
        mut self,
        context: Arc<Context>,
        blocked: Option<Blocked>,
        mut answers: Answers,
    ) {
        if let Some(blocked) = blocked {
            blocked.await;
        }
        let timeout = context.fetcher.as_ref().map_or(LAST_ANSWERS, |fetcher| fetcher.timeout());
        let mut late = pin!(tokio::time::sleep(timeout));
        while self.session.is_asking() {
            self.forward(&context, &mut answers).await;
            tokio::select! {
                answer = answers.next() => match answer {
                    Some((ticket, verdict)) => self.session.answer(ticket, verdict),
                    None => self.session.stop_asking(),
                },
                () = &mut late => self.session.stop_asking(),
            }
        }
        self.tell(&context);
    }

    /// Passes on what has its answer. Nobody hears any more what else would be done.
    async fn forward(&mut self, context: &Context, answers: &mut Answers) {
        let Context { settings, access, .. } = context;
        while let Some((action, reference)) =
            self.session.poll_action(&settings.limits, &access.streams)
        {
            match action {
                Action::Forward { stream, identifier, watch, command } => {
                    let group = GroupKey { codec: self.outbox.codec(), watch, identifier };
                    let input = input(self.session.id(), group, &self.outbox, command, reference);
                    if let Err(waiting) = context.router.try_send(stream, input) {
                        waiting.wait().await;
                    }
                }
                Action::Ask { ticket, question } => answers.ask(context, ticket, question),
                Action::Refuse { .. }
                | Action::Answer { .. }
                | Action::Wait
                | Action::Nothing(_) => {}
            }
        }
    }

    /// Tells everyone; what a shard has no room for waits in a task of its own.
    pub(super) fn tell(self, context: &Arc<Context>) {
        let Self { session, outbox, registration, reason, at } = self;
        let resumable =
            outbox.codec().resumes() && !is_over(reason) && context.sessions.end(&session);
        let goodbye = (!outbox.is_closed()).then(|| Arc::new(Goodbye(Arc::clone(&outbox))));
        let ended = session.streams().map(|(subscription, stream)| {
            let group = subscription.group(outbox.codec());
            let key = SubscriberKey { session: session.id(), group };
            let (stream, outbox) = (stream.clone(), Arc::clone(&outbox));
            Ended { stream, key, outbox, at, resumable, goodbye: goodbye.clone() }
        });
        let waiting: Vec<_> =
            ended.filter_map(|ended| context.router.try_end(ended).err()).collect();
        drop(goodbye);
        let told = Told { session, registration, resumable, at };
        if waiting.is_empty() {
            return told.settle(context);
        }
        let shared = Arc::clone(context);
        context.tasks.spawn(async move {
            for job in waiting {
                job.wait().await;
            }
            told.settle(&shared);
        });
    }
}

/// A session whose streams know that its connection has ended.
struct Told {
    session: Session,
    registration: Option<Box<Registration>>,
    resumable: bool,
    at: Instant,
}

impl Told {
    /// Keeps the session for who takes it over, if it can be. Whoever ended it meanwhile waits for
    /// the registration to be dropped, which is when the streams know of that, too.
    fn settle(self, context: &Arc<Context>) {
        let Self { session, registration, resumable, at } = self;
        if !resumable {
            return context.sessions.forget(&session);
        }
        let Some(over) = context.sessions.park(session, at) else { return };
        let waiting = context.router.forget(&over);
        if !waiting.is_empty() {
            context.tasks.spawn(async move {
                for job in waiting {
                    job.wait().await;
                }
                drop(registration);
            });
        }
    }
}

/// Whether a session ends for good with its connection: because the application says so, or
/// because it never began.
const fn is_over(reason: CloseReason) -> bool {
    match reason {
        CloseReason::Remote { .. } | CloseReason::Unauthorized | CloseReason::TokenExpired => true,
        CloseReason::ClientClosed
        | CloseReason::ClientGone
        | CloseReason::NoPong
        | CloseReason::TooSlow
        | CloseReason::TooFast
        | CloseReason::ServerRestart
        | CloseReason::ProtocolError
        | CloseReason::InvalidText
        | CloseReason::UnsupportedData
        | CloseReason::MessageTooBig
        | CloseReason::Resumed => false,
    }
}
