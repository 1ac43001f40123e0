//! The end of a connection. First its streams park its subscriptions, then its session is parked: so a
//! new connection that resumes it finds all subscriptions.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answers::{Answers, Blocked, input};
use crate::net::context::Context;
use crate::node::{Ended, Goodbye};
use crate::outbound::{Recipient, Registration};
use crate::protocol;
use crate::session::{Action, Consequence, Session};
use crate::shard::SubscriberKey;
use crate::types::{CloseReason, GroupKey, Reference};

/// Maximum time for which a client's last commands wait for the shards after its connection ended. Where
/// the application is asked, they wait as long as for its answers.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A connection that has ended.
pub(super) struct EndedConnection {
    pub(super) session: Session,
    pub(super) outbox: Recipient,
    pub(super) registration: Option<Box<Registration>>,
    pub(super) reason: CloseReason,
    /// Time at which the end was noticed.
    pub(super) at: Instant,
}

impl EndedConnection {
    /// Executes the client's waiting commands, then ends its subscriptions.
    pub(super) async fn finish(
        mut self,
        context: Arc<Context>,
        blocked: Option<Blocked>,
        mut answers: Answers,
        mut nameless: Option<Box<str>>,
    ) {
        if let Some(blocked) = blocked {
            blocked.await;
        }
        answers.stop_repeating();
        let timeout = last_answers(&context);
        let mut late = pin!(tokio::time::sleep(timeout));
        loop {
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
            let Some(text) = nameless.take() else { break };
            self.execute(&text, &context, &mut answers).await;
        }
        self.end_subscriptions(&context);
    }

    /// Executes a message that waited for a name.
    async fn execute(&mut self, text: &str, context: &Context, answers: &mut Answers) {
        let Context { settings, access, clock, .. } = context;
        let (codec, presence_id) = (self.outbox.codec(), self.session.presence_id());
        let request = protocol::decode(codec, text, presence_id, || clock.unix());
        let reference = request.reference.clone();
        let action = self.session.handle(request, &settings.limits, &access.streams);
        self.act((action, reference), context, answers).await;
    }

    /// Forwards commands that are due.
    async fn forward(&mut self, context: &Context, answers: &mut Answers) {
        let Context { settings, access, .. } = context;
        while let Some(due) = self.session.poll_action(&settings.limits, &access.streams) {
            self.act(due, context, answers).await;
        }
    }

    /// Executes an action; some have no effect without a connection.
    async fn act(
        &mut self,
        (action, reference): (Action, Option<Arc<Reference>>),
        context: &Context,
        answers: &mut Answers,
    ) {
        let (sid, codec) = (self.session.id(), self.outbox.codec());
        let sent = match action {
            Action::Forward { stream, identifier, watch, command } => {
                let group = GroupKey { codec, watch, identifier };
                let input = input(sid, group, &self.outbox, command, reference);
                context.router.try_send(stream, input)
            }
            Action::Ask { ticket, question } => {
                let keeping = context.keep(&mut self.session);
                answers.ask(context, (sid, codec, false), (ticket, question), keeping)
            }
            Action::Follow(Consequence::Keep) => {
                if let Some(keeping) = context.keep_first(&mut self.session) {
                    keeping.await;
                }
                Ok(())
            }
            Action::Refuse { .. }
            | Action::Answer { .. }
            | Action::Follow(_)
            | Action::Wait
            | Action::Nothing(_) => Ok(()),
        };
        if let Err(waiting) = sent {
            waiting.wait().await;
        }
    }

    /// Ends the subscriptions in their streams, then parks the session. Waits for full shards in a task.
    pub(super) fn end_subscriptions(self, context: &Arc<Context>) {
        let Self { mut session, outbox, registration, reason, at } = self;
        context.say_goodbye_early(&mut session);
        let resumable = outbox.codec().resumes()
            && session.may_be_resumed()
            && !is_over(reason)
            && context.sessions.end(&session);
        let goodbye = (!outbox.is_closed()).then(|| Arc::new(Goodbye(Arc::clone(&outbox))));
        let ended = session.grants().map(|(subscription, stream, grant)| {
            let group = subscription.group(outbox.codec());
            let key = SubscriberKey { session: session.id(), group };
            let (stream, outbox) = (stream.clone(), Arc::clone(&outbox));
            let grant = resumable.then_some(grant);
            let ttl = session.presence_ttl(subscription);
            Ended { stream, key, outbox, at, grant, ttl, goodbye: goodbye.clone() }
        });
        let waiting: Vec<_> =
            ended.filter_map(|ended| context.router.try_end(ended).err()).collect();
        drop(goodbye);
        let ended = EndedSession { session, registration, resumable, at };
        if waiting.is_empty() {
            return ended.park(context);
        }
        let shared = Arc::clone(context);
        context.tasks.spawn(async move {
            for job in waiting {
                job.wait().await;
            }
            ended.park(&shared);
        });
    }
}

/// A session whose streams have been notified of the end of its connection.
struct EndedSession {
    session: Session,
    registration: Option<Box<Registration>>,
    resumable: bool,
    at: Instant,
}

impl EndedSession {
    /// Parks the session, if it can be resumed. If a remote disconnect ended it meanwhile, its streams drop
    /// its subscriptions; the disconnect waits for that until the registration is dropped.
    fn park(self, context: &Arc<Context>) {
        let Self { session, registration, resumable, at } = self;
        if !resumable {
            context.sessions.forget(&session);
            return context.say_goodbye(session);
        }
        let Some(over) = context.sessions.park(session, at) else { return };
        let waiting = context.router.forget(&over);
        context.say_goodbye(over);
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

fn last_answers(context: &Context) -> Duration {
    let lookup = context.fetcher.as_ref().map(|fetcher| fetcher.timeout());
    let call = context.application.as_ref().map(|application| application.longest());
    lookup.max(call).unwrap_or(LAST_ANSWERS)
}

/// Whether a session can't be resumed because of how its connection ended: by a remote disconnect, or by
/// a failed authentication.
const fn is_over(reason: CloseReason) -> bool {
    match reason {
        CloseReason::Remote { .. }
        | CloseReason::Application
        | CloseReason::Unauthorized
        | CloseReason::TokenExpired => true,
        CloseReason::ClientClosed
        | CloseReason::ClientGone
        | CloseReason::NoPong
        | CloseReason::TooSlow
        | CloseReason::TooFast
        | CloseReason::ServerRestart { .. }
        | CloseReason::ProtocolError
        | CloseReason::InvalidText
        | CloseReason::UnsupportedData
        | CloseReason::MessageTooBig
        | CloseReason::ServerError
        | CloseReason::Resumed => false,
    }
}
