//! Streams that operators watch.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::types::{PresenceChange, StreamName};

/// Watched streams, and their member events.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) streams: HashSet<StreamName, RandomState>,
    pub(super) changes: Vec<(StreamName, Arc<PresenceChange>)>,
}
