//! What the scripts do to a log, in Rust. `scripts_do_what_the_model_does` compares it with them.

use std::collections::BTreeMap;

use super::super::scripts::Settling;

/// What a node has: a bid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Has {
    pub(super) round: u64,
    pub(super) cursor: u8,
    pub(super) nonce: u8,
}

/// A server: its run, a log, and the bids for it. Runs are numbers from 1; 0 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) run: u8,
    pub(super) log: Option<Log>,
    pub(super) bids: Option<Ballot>,
}

/// The bids by node, about a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ballot {
    pub(super) run: u8,
    pub(super) number: u8,
    pub(super) all: BTreeMap<u8, Has>,
}

/// A log. An entry is its nonce.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Log {
    /// The run in which it was found whole.
    pub(super) run: u8,
    pub(super) round: u64,
    /// All that it has had. A snapshot has the first ones, as many as `base`.
    pub(super) entries: Vec<u8>,
    pub(super) base: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    Other,
    Incomplete,
    Settled,
    Bids(Ballot),
}

impl Log {
    /// The entry at a cursor, unless it is in a snapshot alone.
    pub(super) fn at(&self, cursor: usize) -> Option<u8> {
        let place = cursor.checked_sub(1).filter(|place| *place >= self.base)?;
        self.entries.get(place).copied()
    }
}

impl Server {
    /// The log, if it is settled in this run.
    pub(super) fn settled(&self) -> Option<&Log> {
        self.log.as_ref().filter(|log| log.run == self.run)
    }

    pub(super) fn append(&mut self, run: u8, nonce: u8) -> Answer {
        match &mut self.log {
            Some(log) if log.run == run => {
                log.entries.push(nonce);
                Answer::Ok
            }
            Some(_) | None => Answer::Other,
        }
    }

    /// `number` is that of the ballot, if this is its first bid.
    pub(super) fn bid(&mut self, run: u8, (node, has): (u8, Has), number: u8) -> Answer {
        if self.log.as_ref().is_some_and(|log| log.run == run) {
            return Answer::Settled;
        }
        let ballot = self.bids.take().filter(|ballot| ballot.run == run);
        let mut ballot = ballot.unwrap_or(Ballot { run, number, all: BTreeMap::new() });
        ballot.all.insert(node, has);
        self.bids = Some(ballot.clone());
        Answer::Bids(ballot)
    }

    fn is_of(&self, settling: Settling) -> bool {
        self.bids.as_ref().is_some_and(|ballot| u64::from(ballot.number) == settling.ballot)
    }

    /// Settles the log if it has what a node has, with a fork behind it.
    pub(super) fn confirm(
        &mut self,
        run: u8,
        has: Has,
        settling: Settling,
        fork: Option<u8>,
    ) -> Answer {
        let is_of = self.is_of(settling);
        let Some(log) = &mut self.log else { return Answer::Incomplete };
        if log.run == run {
            return Answer::Settled;
        }
        let cursor = usize::from(has.cursor);
        if !is_of
            || log.entries.len() < cursor
            || has.nonce != 0 && log.at(cursor) != Some(has.nonce)
        {
            return Answer::Incomplete;
        }
        log.entries.extend(fork);
        (log.run, log.round) = (run, settling.round);
        self.bids = None;
        Answer::Settled
    }

    /// Settles the log by a snapshot of all of these entries, and those behind the first `base`.
    pub(super) fn restore(
        &mut self,
        run: u8,
        (entries, base): (&[u8], usize),
        settling: Settling,
        fork: Option<u8>,
    ) -> Answer {
        if self.log.as_ref().is_some_and(|log| log.run == run) {
            return Answer::Settled;
        }
        if !self.is_of(settling) {
            return Answer::Incomplete;
        }
        let entries = entries.iter().copied().chain(fork).collect();
        self.log = Some(Log { run, round: settling.round, entries, base });
        self.bids = None;
        Answer::Settled
    }

    pub(super) fn doubt(&mut self, round: u64) {
        if let Some(log) = self.log.as_mut().filter(|log| log.round == round) {
            log.run = 0;
        }
    }
}
