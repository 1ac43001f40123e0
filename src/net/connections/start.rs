//! The beginning of a session.

use crate::auth;
use crate::net::context::Context;
use crate::session::Session;
use crate::types::{Codec, Repeat, SessionId};

/// The beginning of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) sid: SessionId,
    pub(super) codec: Codec,
    /// When repeated subscribes are confirmed.
    pub(super) repeat: Repeat,
}

impl Start {
    /// A client's session.
    pub(super) fn session(self, context: &Context, client: &auth::Client) -> Session {
        Session::new(self.sid, client)
            .repeating(self.repeat)
            .asking(context.fetcher.is_some())
            .keeping_names(self.codec.keeps_names())
    }
}
