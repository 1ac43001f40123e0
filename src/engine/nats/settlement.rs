//! Settlements: messages in a log that say how it goes on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::log::LogId;

/// Cursors left out where something may be lost. What nodes had that are gone was given some of them.
const LEFT_OUT: u64 = 1 << 20;

/// How a log goes on. The last one in the log's stream says it; who reads one with which its branch doesn't go on looks for
/// that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settlement {
    /// Identity of the log.
    pub(super) log: u64,
    /// How often the log was settled.
    pub(super) round: u64,
    /// Random: names the run in which the log was settled.
    pub(super) run: u64,
    pub(super) branch: Branch,
    pub(super) kind: Kind,
}

/// A round, and the run of the server in which it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) round: u64,
    pub(super) run: u64,
}

/// A part of the log's stream in which each message is the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Branch {
    /// The run in which it began.
    pub(super) name: u64,
    /// Sequence number of its first message, the settlement.
    pub(super) sequence: u64,
    /// Cursor of that.
    pub(super) cursor: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A branch begins. Nothing before it counts any more.
    Begins {
        /// What was before it; nothing if the log is new.
        put_back: Option<PutBack>,
        /// A batch in its place, if nodes that are gone may have had something that is lost.
        fork: Vec<u8>,
    },
    /// Nothing is lost.
    GoesOn {
        /// How much cursors are ahead of sequence numbers from here on.
        ahead: u64,
        /// A batch in its place, if nodes that are gone may have had something that is lost.
        fork: Vec<u8>,
    },
    /// Something is lost in this round: nothing behind it counts before a branch begins.
    Doubted,
}

/// A state of the log's streams, and the batches that led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PutBack {
    /// Cursor of the last batch in it.
    pub(super) at: u64,
    /// For each chunk of the snapshot, the sequence numbers of its parts.
    pub(super) chunks: Vec<Vec<u64>>,
    /// Sequence numbers of the parts of the batches.
    pub(super) recent: Vec<u64>,
}

impl Branch {
    /// How much cursors are ahead of sequence numbers when it begins.
    pub(super) fn ahead(&self) -> u64 {
        self.cursor.wrapping_sub(self.sequence)
    }
}

impl PutBack {
    /// Number of all parts.
    pub(super) fn count(&self) -> u64 {
        (self.chunks.iter().map(Vec::len).sum::<usize>() + self.recent.len()) as u64
    }

    /// Sequence number behind all parts.
    pub(super) fn end(&self) -> u64 {
        self.chunks.iter().flatten().chain(&self.recent).max().map_or(0, |last| last + 1)
    }
}

impl Settlement {
    /// A branch that begins behind a batch.
    pub(super) fn beginning(
        log: LogId,
        (round, run): (u64, u64),
        put_back: Option<PutBack>,
        fork: Vec<u8>,
    ) -> Self {
        let at = put_back.as_ref().map_or(0, |put_back| put_back.at);
        let cursor = if fork.is_empty() { at } else { at + 1 + LEFT_OUT };
        let branch = Branch { name: run, sequence: 0, cursor }; // its place follows from where it is read
        Self { log: log.0, round, run, branch, kind: Kind::Begins { put_back, fork } }
    }

    /// The same log goes on, in a later round.
    pub(super) fn going_on(&self, round: u64, run: u64, fork: Vec<u8>) -> Self {
        let left_out = if fork.is_empty() { 0 } else { LEFT_OUT };
        let ahead = self.ahead().wrapping_add(left_out);
        Self { round, run, kind: Kind::GoesOn { ahead, fork }, ..*self }
    }

    /// The same, said again where it isn't trimmed.
    pub(super) fn again(&self) -> Self {
        Self { kind: Kind::GoesOn { ahead: self.ahead(), fork: Vec::new() }, ..*self }
    }

    /// Its round.
    pub(super) fn round(&self) -> Round {
        Round { round: self.round, run: self.run }
    }

    /// The log has lost something since a round began.
    pub(super) fn doubted(log: LogId, Round { round, run }: Round, branch: Branch) -> Self {
        Self { log: log.0, round, run, branch, kind: Kind::Doubted }
    }

    /// From a message at its place in the stream; `None`: it isn't one of this log.
    pub(super) fn read(log: LogId, sequence: u64, message: &[u8]) -> Option<Self> {
        let mut settlement: Self = serde_json::from_slice(message).ok()?;
        if settlement.is_beginning() {
            settlement.branch.sequence = sequence;
        }
        (settlement.log == log.0).then_some(settlement)
    }

    pub(super) fn write(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into() // numbers and text can't fail
    }

    /// The batch in its place; empty if there is none.
    pub(super) fn fork(self) -> Vec<u8> {
        match self.kind {
            Kind::Begins { fork, .. } | Kind::GoesOn { fork, .. } => fork,
            Kind::Doubted => Vec::new(),
        }
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.kind == Kind::Doubted
    }

    /// Whether it is by a node that has just started: it found no settlement, and knows of none.
    pub(super) fn is_by_newcomer(&self) -> bool {
        self.branch == Branch::default()
    }

    pub(super) fn is_beginning(&self) -> bool {
        matches!(self.kind, Kind::Begins { .. })
    }

    /// How much cursors are ahead of sequence numbers behind it.
    pub(super) fn ahead(&self) -> u64 {
        match self.kind {
            Kind::GoesOn { ahead, .. } => ahead,
            Kind::Begins { .. } | Kind::Doubted => self.branch.ahead(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(7);

    fn put_back(at: u64) -> PutBack {
        PutBack { at, chunks: vec![vec![3, 4], vec![], vec![5]], recent: vec![9] }
    }

    #[test]
    fn what_is_written_is_read_in_its_place_and_nothing_else() {
        let begins = Settlement::beginning(LOG, (3, 5), Some(put_back(40)), vec![]);
        let read = Settlement::read(LOG, 90, &begins.write()).unwrap();
        assert_eq!(read.branch, Branch { name: 5, sequence: 90, cursor: 40 });
        let goes_on = read.going_on(4, 6, vec![]);
        assert_eq!(Settlement::read(LOG, 95, &goes_on.write()), Some(goes_on.clone()));
        assert_eq!((goes_on.branch, goes_on.round, goes_on.run), (read.branch, 4, 6));
        assert_eq!(Settlement::read(LogId(8), 90, &begins.write()), None);
        assert_eq!(Settlement::read(LOG, 90, b"{}"), None);
    }

    /// Cursors that nodes may have been given that are gone are given to no other batch.
    #[test]
    fn cursors_go_on_without_being_given_twice() {
        let cursor =
            |settlement: &Settlement, sequence: u64| sequence.wrapping_add(settlement.ahead());
        let new = Settlement::beginning(LOG, (1, 1), None, vec![]);
        let new = Settlement::read(LOG, 1, &new.write()).unwrap();
        assert_eq!(cursor(&new, 2), 1, "the first batch is behind the settlement");
        let restored = Settlement::beginning(LOG, (2, 2), Some(put_back(40)), vec![]);
        let restored = Settlement::read(LOG, 90, &restored.write()).unwrap();
        assert_eq!(cursor(&restored, 91), 41);
        let forked = Settlement::beginning(LOG, (2, 2), Some(put_back(40)), vec![7]);
        let forked = Settlement::read(LOG, 1, &forked.write()).unwrap();
        assert_eq!(cursor(&forked, 1), 41 + LEFT_OUT);
        let goes_on = restored.going_on(3, 3, vec![7]);
        assert_eq!(cursor(&goes_on, 95), 45 + LEFT_OUT);
        let again = goes_on.going_on(4, 4, vec![]).again();
        assert_eq!(cursor(&again, 99), 49 + LEFT_OUT);
    }

    #[test]
    fn parts_are_counted() {
        let put_back = put_back(1);
        assert_eq!((put_back.count(), put_back.end()), (4, 10));
        assert_eq!(PutBack { at: 1, chunks: vec![], recent: vec![] }.end(), 0);
    }
}
