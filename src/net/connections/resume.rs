//! Resume: a new connection takes over an earlier one's session.
//!
//! ```text
//! sid ─▶ Sessions::claim ─▶ the session ─▶ each stream's shard moves the subscription ─▶ welcome
//! ```
//!
//! A shard writes to the new connection as soon as it has moved a subscription; the outbox holds this
//! back until the welcome is sent. A subscription that a shard could not move isn't listed as restored,
//! and the client subscribes again. A session of another node goes the same way, once that has parted with it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::net::context::Context;
use crate::node::{Claim, Ended, Resume};
use crate::outbound::Recipient;
use crate::session::{Session, Subscription};
use crate::shard::SubscriberKey;
use crate::types::{Identifier, Identity, ResumeOutcome, SessionId, StreamName};

/// Claims a session; counts the outcome and returns `None` if that fails.
pub(super) fn claim(context: &Context, sid: SessionId, identity: Identity) -> Option<Claim> {
    let claim = context.peers.claim(sid, identity);
    let refused = match claim {
        Claim::Ready(_) | Claim::Closing(_) | Claim::Elsewhere(_) => return Some(claim),
        Claim::Unknown => ResumeOutcome::Unknown,
        Claim::Denied => ResumeOutcome::Denied,
    };
    refuse(context, sid, refused);
    None
}

fn refuse(context: &Context, sid: SessionId, outcome: ResumeOutcome) {
    context.instruments.resumes.increment(outcome);
    tracing::debug!(%sid, outcome = outcome.as_ref(), "session not resumed");
}

/// Moves the subscriptions of a session, claimed by its sid, to a new session; returns those that could be moved.
pub(super) async fn take_over(
    context: &Context,
    (sid, mut claim): (SessionId, Claim),
    session: &mut Session,
    outbox: &Recipient,
) -> Vec<Identifier> {
    let is_elsewhere = matches!(claim, Claim::Elsewhere(_));
    if is_elsewhere {
        claim = context.peers.claim_elsewhere(sid, session.identity()).await;
    }
    let is_denied = matches!(claim, Claim::Denied);
    let mut earlier = claim.wait().await;
    if is_elsewhere && let Some(parked) = earlier.take() {
        earlier = Some(context.with_known(parked).await);
    }
    if let Some(over) = earlier.take_if(|it| context.has_lost_channels(it)) {
        for waiting in context.router.forget(&over) {
            waiting.wait().await;
        }
    }
    // whoever moves the session in the log has it
    let is_known = earlier.as_ref().is_some_and(Session::has_channels);
    if let Some(it) = &mut earlier
        && !context.move_session(it, session.id()).await
    {
        earlier = None;
    }
    let moved = match &earlier {
        Some(earlier) => {
            let decides = is_elsewhere && !is_known;
            move_streams(context, (earlier, decides), session.id(), outbox).await
        }
        None => None,
    };
    let Some((earlier, moved)) = earlier.zip(moved) else {
        let outcome = if is_denied { ResumeOutcome::Denied } else { ResumeOutcome::Unknown };
        refuse(context, sid, outcome);
        return Vec::new();
    };
    let (from, to) = (earlier.id(), session.id());
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
    if let Some(keeping) = context.keep(session) {
        keeping.await;
    }
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

/// Moves the streams of a session; returns for each whether it could be moved. When several nodes claim a session of
/// another one at a time, and its first stream `decides`, the one that gets that has it; for the others this is `None`.
async fn move_streams(
    context: &Context,
    (earlier, decides): (&Session, bool),
    to: SessionId,
    outbox: &Recipient,
) -> Option<Vec<bool>> {
    let (mut moved, mut answers) = (Vec::new(), Vec::new());
    for (held, stream) in earlier.streams() {
        let from = SubscriberKey { session: earlier.id(), group: held.group(outbox.codec()) };
        let resume = Resume { from, to, recipient: Arc::clone(outbox) };
        let answer = context.router.resume(stream.clone(), resume).await.ok();
        if !decides || !moved.is_empty() {
            answers.push(answer);
        } else if is_moved(answer).await {
            moved.push(true);
        } else {
            return None;
        }
    }
    for answer in answers {
        moved.push(is_moved(answer).await);
    }
    Some(moved)
}

async fn is_moved(answer: Option<oneshot::Receiver<bool>>) -> bool {
    match answer {
        Some(answer) => answer.await.unwrap_or_default(),
        None => false,
    }
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
    let ended = Ended { stream, key, outbox, at, grant: None, ttl: None, goodbye: None };
    if let Err(waiting) = context.router.try_end(ended) {
        waiting.wait().await;
    }
}

#[cfg(test)]
mod tests;
