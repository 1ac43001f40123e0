//! Resume: a new connection takes over an earlier one's session.
//!
//! ```text
//! sid ─▶ Sessions::claim ─▶ the session ─▶ each stream's shard moves the subscription ─▶ welcome
//! ```
//!
//! A shard writes to the new connection as soon as it has moved a subscription; the outbox holds this
//! back until the welcome is sent. A subscription that a shard could not move isn't listed as restored,
//! and the client subscribes again.

use std::sync::Arc;
use std::time::Duration;

use crate::net::context::Context;
use crate::node::{Claim, Ended, Resume};
use crate::outbound::Recipient;
use crate::session::{Session, Subscription};
use crate::shard::SubscriberKey;
use crate::types::{Identifier, Identity, ResumeOutcome, SessionId, StreamName};

/// Maximum time for which to wait until the old connection has ended. That takes as long as its shards
/// need to accept the last commands.
const HAND_OVER: Duration = Duration::from_secs(5);

/// Claims a session; counts the outcome and returns `None` if that fails.
pub(super) fn claim(context: &Context, sid: SessionId, identity: Identity) -> Option<Claim> {
    let claim = context.sessions.claim(sid, identity);
    let refused = match claim {
        Claim::Ready(_) | Claim::Closing(_) => return Some(claim),
        Claim::Unknown => ResumeOutcome::Unknown,
        Claim::Denied => ResumeOutcome::Denied,
    };
    context.instruments.resumes.increment(refused);
    tracing::debug!(%sid, outcome = refused.as_ref(), "session not resumed");
    None
}

/// Moves a claimed session's subscriptions to a new session; returns those that could be moved.
pub(super) async fn take_over(
    context: &Context,
    claim: Claim,
    session: &mut Session,
    outbox: &Recipient,
) -> Vec<Identifier> {
    let earlier = match claim {
        Claim::Ready(earlier) => Some(*earlier),
        Claim::Closing(closing) => {
            tokio::time::timeout(HAND_OVER, closing).await.ok().and_then(Result::ok)
        }
        Claim::Unknown | Claim::Denied => None,
    };
    let Some(earlier) = earlier else {
        context.instruments.resumes.increment(ResumeOutcome::Unknown);
        return Vec::new();
    };
    let (from, to) = (earlier.id(), session.id());
    let mut answers = Vec::new();
    for (held, stream) in earlier.streams() {
        let from = SubscriberKey { session: from, group: held.group(outbox.codec()) };
        let resume = Resume { from, to, recipient: Arc::clone(outbox) };
        answers.push(context.router.resume(stream.clone(), resume).await.ok());
    }
    let mut moved = Vec::with_capacity(answers.len());
    for answer in answers {
        moved.push(match answer {
            Some(answer) => answer.await.unwrap_or_default(),
            None => false,
        });
    }
    let mut moved = moved.into_iter();
    let asked = earlier.subscriptions().len();
    let mut taken = Vec::with_capacity(asked);
    for held in earlier.subscriptions() {
        let streams: Vec<(&StreamName, bool)> = held.streams().zip(moved.by_ref()).collect();
        let is_whole = streams.iter().all(|(_, moved)| *moved);
        taken.push(is_whole);
        for (stream, _) in streams.into_iter().filter(|(_, moved)| *moved && !is_whole) {
            give_up(context, (held, stream), to, outbox).await;
        }
    }
    session.take_over(earlier, taken);
    let restored: Vec<_> =
        session.subscriptions().iter().map(|held| held.identifier.clone()).collect();
    let outcome = match restored.len() {
        0 => ResumeOutcome::Unknown,
        all if all == asked => ResumeOutcome::Resumed,
        _ => ResumeOutcome::Partly,
    };
    context.instruments.resumes.increment(outcome);
    tracing::debug!(%from, %to, outcome = outcome.as_ref(), of = asked, "session resumed");
    restored
}

/// Ends a moved stream of a subscription whose other streams could not be moved: the client subscribes
/// again.
async fn give_up(
    context: &Context,
    (held, stream): (&Subscription, &StreamName),
    session: SessionId,
    outbox: &Recipient,
) {
    let key = SubscriberKey { session, group: held.group(outbox.codec()) };
    let (stream, outbox, at) = (stream.clone(), Arc::clone(outbox), context.clock.now());
    let ended = Ended { stream, key, outbox, at, resumable: false, goodbye: None };
    if let Err(waiting) = context.router.try_end(ended) {
        waiting.wait().await;
    }
}

#[cfg(test)]
mod tests;
