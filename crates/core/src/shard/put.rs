//! Records of the application.

use std::time::Duration;

use crate::types::{Join, MemberRecords};

/// A record of the application, one per stream and presence id, without a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Presence id and info.
    pub join: Join,
    /// TTL; without it, the record stays until a kick.
    pub ttl: Option<Duration>,
}

/// Outcome of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Whether the record is new.
    pub is_new: bool,
    /// The member it belongs to.
    pub member: MemberRecords,
}
