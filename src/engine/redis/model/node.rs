//! A node's follower, as far as it matters to recovery.

use std::collections::VecDeque;

use super::server::Has;

/// A follower.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    pub(super) is_gone: bool,
    /// Whether it stands still, or is cut off, for as long as the others like: they needn't wait for it.
    pub(super) is_late: bool,
    /// How many of those that it was told the others had when they declared it dead.
    pub(super) departed: Option<u8>,
    /// The run of the server that it is connected to.
    pub(super) link: u8,
    /// What it was delivered, and has told its clients: nonces.
    pub(super) told: Vec<u8>,
    /// The latest round of those batches.
    pub(super) latest: u64,
    /// The round in which the log last had all that.
    pub(super) round: Option<u64>,
    pub(super) phase: Phase,
    pub(super) inbox: VecDeque<News>,
    pub(super) has_dropped: bool,
    /// A check that was answered, but not yet by the subscribed connection.
    pub(super) check: Option<Check>,
    /// A batch on its way by a connection, which the node may have given up.
    pub(super) sent: Option<(u8, u8)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// It asks what the log is.
    #[default]
    Proves,
    /// It reads what is behind that.
    Reads,
    /// It takes what is published, and appends.
    Follows,
    /// It bids. Redis has been in that round.
    Bids(u64),
    /// It has bid, and waited long enough to settle the log.
    Settles(Decision),
    /// The log hasn't what it has: it puts that back.
    PutsBack(Decision),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Decision {
    pub(super) ballot: u8,
    pub(super) round: u64,
    pub(super) forks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum News {
    Published { round: u64, cursor: u8, nonce: u8 },
    Checked(Check),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Check {
    pub(super) is_settled: bool,
    pub(super) round: u64,
    pub(super) head: u8,
    /// How many batches the node had been told before.
    pub(super) before: u8,
}

impl Node {
    /// What it has, as it bids and as it proves.
    pub(super) fn has(&self) -> Has {
        let nonce = self.told.last().copied().unwrap_or(0);
        Has { round: self.latest, cursor: byte(self.told.len()), nonce }
    }

    /// Whether the others can't count on it.
    pub(super) fn is_untimely(&self) -> bool {
        self.is_gone || self.is_late
    }
}

pub(super) fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap()
}
