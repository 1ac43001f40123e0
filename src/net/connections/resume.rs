//! A new connection takes over an earlier one's session.
//!
//! ```text
//! sid ─▶ Sessions::claim ─▶ the session ─▶ each stream's shard moves the subscription ─▶ welcome
//! ```
//!
//! The shards write to the new connection from the moment they have moved a subscription; its
//! outbox holds that back until the welcome is there to go first. What a shard could not move
//! isn't among the restored, and the client subscribes anew.

use std::sync::Arc;
use std::time::Duration;

use crate::net::context::Context;
use crate::node::{Claim, Resume};
use crate::outbound::Recipient;
use crate::session::Session;
use crate::shard::SubscriberKey;
use crate::types::{Identifier, Identity, ResumeOutcome, SessionId};

/// How long to wait for the end of the connection that has the session still. It takes no longer
/// than its shards need to take in the last command.
const HAND_OVER: Duration = Duration::from_secs(5);

/// Asks for a session. `None` if it can't be had, which is counted.
pub(super) fn claim(context: &Context, sid: SessionId, identity: Identity) -> Option<Claim> {
    let claim = context.sessions.claim(sid, identity);
    let refused = match claim {
        Claim::Ready(_) | Claim::Closing(_) => return Some(claim),
        Claim::Unknown => ResumeOutcome::Unknown,
        Claim::Denied => ResumeOutcome::Denied,
    };
    context.instruments.resumes.increment(refused);
    tracing::debug!(%sid, outcome = refused.as_ref(), "a session is not resumed");
    None
}

/// Moves what a claimed session follows to a new one; what of it could be moved.
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
    for held in earlier.subscriptions() {
        let from = SubscriberKey { session: from, group: held.group(outbox.codec()) };
        let resume = Resume { from, to, recipient: Arc::clone(outbox) };
        answers.push(context.router.resume(held.stream.clone(), resume).await.ok());
    }
    let asked = answers.len();
    let mut taken = Vec::with_capacity(asked);
    for answer in answers {
        taken.push(match answer {
            Some(answer) => answer.await.unwrap_or_default(),
            None => false,
        });
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
    tracing::debug!(%from, %to, outcome = outcome.as_ref(), of = asked, "a session is resumed");
    restored
}
