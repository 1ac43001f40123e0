//! What waits in a shard's queue.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Recipient;
use crate::broker::Input;
use crate::types::{MemberList, StreamName};

/// Work for a shard.
#[derive(Debug)]
pub(super) enum Job {
    Input(StreamName, Input<Recipient>),
    Presence { stream: StreamName, records: bool, answer: oneshot::Sender<Presence> },
}

/// Who is present in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// How many.
    pub total: usize,
    /// Who, in order of arrival, if that was asked for.
    pub members: Option<Arc<MemberList>>,
}
