//! Answers to a session's questions.
//!
//! ```text
//! Action::Ask { ticket, question } ─▶ Answers ─▶ the application, or the streams' shards
//!          Session::answer(ticket, verdict) ◀─ polled by the connection's task
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};

use crate::net::context::Context;
use crate::net::known::Keeping;
use crate::node::NoRoom;
use crate::outbound::Recipient;
use crate::session::{Question, Ticket, Verdict};
use crate::shard::{Input, SubscriberKey};
use crate::types::{CallFailure, Codec, GroupKey, Reference, SessionId, StreamCommand};

/// An input that waits for room in a shard's queue.
pub(super) type Blocked = Pin<Box<dyn Future<Output = ()> + Send>>;

type Answer = Pin<Box<dyn Future<Output = (Ticket, Verdict)> + Send>>;

/// Answers under way.
#[derive(Default)]
pub(super) struct Answers {
    answers: FuturesUnordered<Answer>,
    /// Tells the questions about subscriptions that their clients repeat them.
    repeats: Vec<(Ticket, watch::Sender<u32>)>,
}

impl Answers {
    /// Starts to answer a session's question. `is_final`: the client gives up on an unanswered subscribe for good. The
    /// application is asked once `keeping` is over. `Err` if its shard has no room for it yet.
    pub(super) fn ask(
        &mut self,
        context: &Context,
        (session, codec, is_final): (SessionId, Codec, bool),
        (ticket, question): (Ticket, Question),
        keeping: Option<Keeping>,
    ) -> Result<(), NoRoom> {
        let mut asked = Ok(());
        self.answers.push(match question {
            Question::PresentAs { stream, identifier, watch } => {
                let key = SubscriberKey { session, group: GroupKey { codec, watch, identifier } };
                let (answer, answered) = oneshot::channel();
                asked = context.router.try_identify(stream, key, answer);
                // no answer comes after the stop
                Box::pin(async move { (ticket, Verdict::PresentAs(answered.await.ok().flatten())) })
            }
            Question::Call(call) => {
                let application = context.application.clone();
                let repeats = (is_final && call.is_subscribe()).then(|| {
                    let (sender, receiver) = watch::channel(call.number);
                    self.repeats.push((ticket, sender));
                    receiver
                });
                Box::pin(async move {
                    if let Some(keeping) = keeping {
                        keeping.await;
                    }
                    let reply = match application {
                        Some(application) => application.ask(*call, repeats).await,
                        None => Err(CallFailure::Unreachable),
                    };
                    (ticket, Verdict::Called(reply))
                })
            }
            Question::MemberData { stream, id } => {
                let fetcher = context.fetcher.clone();
                Box::pin(async move {
                    let extra = match fetcher {
                        Some(fetcher) => fetcher.ask(stream, id).await,
                        None => None,
                    };
                    (ticket, Verdict::MemberData(extra))
                })
            }
            Question::CallAgain(number) => {
                if let Some((_, repeats)) = self.repeats.iter().find(|(asked, _)| *asked == ticket)
                {
                    repeats.send_replace(number);
                }
                return Ok(());
            }
            Question::Applied => {
                let router = Arc::clone(&context.router);
                Box::pin(async move {
                    router.wait_applied().await;
                    (ticket, Verdict::Applied)
                })
            }
        });
        asked
    }

    /// The client has gone, so it repeats nothing: what failed isn't asked again.
    pub(super) fn stop_repeating(&mut self) {
        self.repeats.clear();
    }

    /// The next answer; `None` if none is under way.
    pub(super) fn poll_next(&mut self, task: &mut Task<'_>) -> Poll<Option<(Ticket, Verdict)>> {
        let polled = self.answers.poll_next_unpin(task);
        if let Poll::Ready(Some((ticket, _))) = &polled {
            self.repeats.retain(|(asked, _)| asked != ticket);
        }
        polled
    }

    /// The next answer; `None` if none is under way.
    pub(super) async fn next(&mut self) -> Option<(Ticket, Verdict)> {
        self.answers.next().await
    }
}

/// The input of a shard for a forwarded command. Counts the command in its outbox if the reply may be
/// large.
pub(super) fn input(
    session: SessionId,
    group: GroupKey,
    outbox: &Recipient,
    command: StreamCommand,
    reference: Option<Arc<Reference>>,
) -> Input<Recipient> {
    if command.has_large_reply() {
        outbox.ask();
    }
    let (key, recipient) = (SubscriberKey { session, group }, Arc::clone(outbox));
    Input::Command { key, recipient, command, reference }
}
