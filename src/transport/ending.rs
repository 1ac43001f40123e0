//! The end of a connection, told to the streams it followed, and then to those who may take its
//! session over: so whoever does finds all its subscriptions waiting.

use std::sync::Arc;
use std::time::Instant;

use super::Context;
use crate::broker::SubscriberKey;
use crate::fanout::{Ended, Recipient};
use crate::session::Session;
use crate::types::CloseReason;

/// A connection that has ended.
pub(super) struct Ending {
    pub(super) session: Session,
    pub(super) outbox: Recipient,
    pub(super) reason: CloseReason,
    /// When it was noticed.
    pub(super) at: Instant,
}

impl Ending {
    /// Tells everyone; what a shard has no room for waits in a task of its own.
    pub(super) fn tell(self, context: &Arc<Context>) {
        let Self { session, outbox, reason, at } = self;
        let resumable =
            outbox.codec().resumes() && !is_over(reason) && context.sessions.end(&session);
        let ended = session.subscriptions().iter().map(|subscription| {
            let group = subscription.group(outbox.codec());
            let key = SubscriberKey { session: session.id(), group };
            let (stream, outbox) = (subscription.stream.clone(), Arc::clone(&outbox));
            Ended { stream, key, outbox, at, resumable }
        });
        let waiting: Vec<_> = ended.filter_map(|ended| context.hub.try_end(ended).err()).collect();
        let settle = move |context: &Context| {
            if resumable {
                context.sessions.park(session, at);
            } else {
                context.sessions.forget(&session);
            }
        };
        if waiting.is_empty() {
            return settle(context);
        }
        let shared = Arc::clone(context);
        context.tasks.spawn(async move {
            for job in waiting {
                job.wait().await;
            }
            settle(&shared);
        });
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
