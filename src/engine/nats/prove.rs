//! Whether a log is the one that was delivered so far, and where it goes on.
//!
//! A branch has no gaps, and nodes remove only what is before the snapshot before the newest, which says so. So a node
//! knows what it means that it finds something else:
//!
//! | found | it means | then |
//! |---|---|---|
//! | no stream; no settlement; one that is doubted, or whose run doesn't last | a loss, perhaps a purge | [recovery](super::recovery) |
//! | the beginning of another branch | others have put the log back | it goes on behind that, if it has a part of it |
//! | the next message is missing, or the last that was delivered; the newest snapshot allows for it | the log was trimmed while this node was away | it is lost |
//! | the same, and no snapshot allows for it | a purge, in part | it is doubted, so others put back what they have |
//! | no snapshot, or none behind which the log goes on | the same, for who starts | the same |
//! | the log is shorter, or has something else, in the round that was known | a loss that nobody has noticed | the same |
//! | the same, in a later round | others have gone on without this node | it is lost |
//!
//! These are several requests, and the log may be lost once more in between. So a node is lost only if the log is still settled
//! by the same message afterwards. One that hasn't caught up yet has told nobody anything: it doubts no log that it can't read,
//! and begins again.

use super::api::{OTHER_LAST, Stored, StreamInfo, StreamState};
use super::entry::Envelope;
use super::fault::{Fault, Refusal};
use super::follower::{Follower, Interrupt, Outline, Place, check};
use super::link::Link;
use super::manifest::Manifest;
use super::names::described_log;
use super::places::Start;
use super::settlement::{Branch, Kind, Round, Settlement};
use super::{parts, recent, run};
use crate::engine::event::{Cursor, LostReason};
use crate::engine::feed::Feed;
use crate::engine::recent::{Entry, Last};

/// The last settlement in a log's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Its sequence number; 0: there is none.
    pub(super) sequence: u64,
    /// What it says, if it is of this log.
    pub(super) settlement: Option<Settlement>,
}

impl Follower {
    /// Makes sure that the log is settled, and that it has all that was delivered; finds out where it goes on.
    pub(super) async fn prove(&mut self, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        loop {
            let Some((info, standing)) = self.settled(link).await? else {
                self.recover(link, feed).await?;
                continue;
            };
            match self.go_on(&info, &standing, link, feed).await {
                Ok(true) => break,
                Ok(false) => {}
                // it was lost once more, and perhaps settled anew, while it was looked at
                Err(Interrupt::Lost(_)) if !self.stands(&standing, link).await? => {}
                Err(interrupt) => return Err(interrupt),
            }
        }
        let (end, read) = (Cursor(self.cursor(self.end)), Cursor(self.cursor(self.read)));
        feed.note_end(end, read).await.map_err(Into::into)
    }

    /// Goes on in a settled log behind what was delivered. If that has lost something, all nodes settle it anew; returns
    /// whether it hasn't.
    async fn go_on(
        &mut self,
        info: &StreamInfo,
        standing: &Standing,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<bool, Interrupt> {
        let Some(settlement) = &standing.settlement else { return Ok(false) };
        let is_other = self.branch.is_none_or(|branch| branch.name != settlement.branch.name);
        if is_other && !self.change_branch(settlement, link, feed).await? {
            self.doubt_log(standing, settlement.round(), link).await?;
            return Ok(false);
        }
        if let Some(reason) = self.compare(info, link).await? {
            let is_loss = if reason == LostReason::Trimmed {
                let next = self.read + 1;
                feed.is_caught_up() && !self.is_trimmed(next, &settlement.branch, link).await?
            } else {
                // else the others have gone on without this node
                settlement.round == self.settled.round && self.delivered.nonce.is_some()
            };
            if !is_loss {
                return Err(Interrupt::Lost(reason));
            }
            self.doubt_log(standing, settlement.round(), link).await?;
            return Ok(false);
        }
        self.settled = settlement.round();
        (self.end, self.seen) = (info.state.last_seq, 0);
        Ok(true)
    }

    /// The log's stream, and what settled it; `None`: it isn't settled in this run of its server.
    async fn settled(&self, link: &Link) -> Result<Option<(StreamInfo, Standing)>, Interrupt> {
        let names = &self.setup.names;
        let standing = match link.last(&names.log, &names.settlements).await {
            Err(Fault::NoStream) => return Ok(None),
            last => self.read_standing(check(link, last)?),
        };
        // as this is before the run is looked at, it is of the same stream
        let info = check(link, link.info(&names.log).await)?;
        if described_log(&info.config.description) != Some(self.setup.log) {
            return Err(Interrupt::Lost(LostReason::Replaced));
        }
        let is_settled = self.is_settled(&standing, link).await?;
        Ok(is_settled.then_some((info, standing)))
    }

    /// The last settlement.
    pub(super) async fn standing(&self, link: &Link) -> Result<Standing, Interrupt> {
        let names = &self.setup.names;
        let last = check(link, link.last(&names.log, &names.settlements).await)?;
        Ok(self.read_standing(last))
    }

    fn read_standing(&self, last: Option<Stored>) -> Standing {
        last.map_or(Standing { sequence: 0, settlement: None }, |last| Standing {
            sequence: last.sequence,
            settlement: Settlement::read(self.setup.log, last.sequence, &last.payload),
        })
    }

    /// Whether the log is still settled by what it was.
    async fn stands(&self, before: &Standing, link: &Link) -> Result<bool, Interrupt> {
        let now = self.standing(link).await?;
        Ok(now == *before && self.is_settled(&now, link).await?)
    }

    /// Whether the log is settled in this run of its server.
    pub(super) async fn is_settled(
        &self,
        standing: &Standing,
        link: &Link,
    ) -> Result<bool, Interrupt> {
        match &standing.settlement {
            Some(settlement) if !settlement.is_doubted() => {
                check(link, run::lasts(link, &self.setup.names.log, settlement.run).await)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Goes over to another branch, which has what was delivered or begins with it; returns whether what it began with is
    /// there.
    async fn change_branch(
        &mut self,
        settlement: &Settlement,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<bool, Interrupt> {
        if self.branch.is_none() && self.take_up(settlement) {
            return Ok(true);
        }
        let branch = settlement.branch;
        let Some(begin) = self.beginning(&branch, link).await? else {
            if feed.is_caught_up() && !self.is_trimmed(branch.sequence, &branch, link).await? {
                return Ok(false);
            }
            return Err(Interrupt::Lost(LostReason::Trimmed));
        };
        let (at, entries) = match begin {
            Kind::Begins { put_back: Some(put_back), .. } => {
                let store = &self.setup.names.store;
                let bytes = check(link, parts::read(link, store, &put_back.recent).await)?;
                let Some((after, entries)) = bytes.and_then(recent::read) else {
                    // they go when the log is trimmed for the first time
                    return if self.is_trimmed(0, &branch, link).await? {
                        Err(Interrupt::Lost(LostReason::Trimmed))
                    } else {
                        Ok(false)
                    };
                };
                (put_back.at, rest(self.delivered, after, entries))
            }
            // a new log
            Kind::Begins { put_back: None, .. } | Kind::GoesOn { .. } | Kind::Doubted => {
                (0, Ok(Vec::new()))
            }
        };
        if self.delivered.cursor > at {
            return Err(Interrupt::Lost(LostReason::Shorter));
        }
        for entry in entries.map_err(Interrupt::Lost)? {
            feed.deliver(Cursor(entry.cursor), entry.at, entry.batch.clone()).await?;
            self.delivered = Place { cursor: entry.cursor, sequence: 0, nonce: Some(entry.nonce) };
            self.note_delivered(entry);
        }
        self.delivered.sequence = 0;
        (self.branch, self.read, self.ahead) = (Some(branch), branch.sequence - 1, branch.ahead());
        self.run = 0; // that of the branch is read next
        self.settled = settlement.round();
        self.setup.places.begin(branch, branch.cursor, branch.ahead());
        self.setup.progress.note_snapshot(Cursor(at));
        Ok(true)
    }

    /// Begins in a branch where the worker asked to; returns whether it can.
    pub(super) fn take_up(&mut self, settlement: &Settlement) -> bool {
        let (branch, cursor) = (settlement.branch, self.delivered.cursor);
        let start = match self.setup.places.start(cursor) {
            Some(start) if start.branch == branch.name => start,
            None if cursor >= branch.cursor => {
                let read = cursor.wrapping_sub(branch.ahead());
                Start { branch: branch.name, cursor, read, ahead: branch.ahead() }
            }
            Some(_) | None => return false, // the snapshot was of another branch
        };
        let is_there = start.read > branch.sequence;
        (self.branch, self.read, self.ahead) = (Some(branch), start.read, start.ahead);
        self.delivered.sequence = if is_there { start.read } else { 0 };
        self.setup.places.begin(branch, cursor, start.ahead);
        true
    }

    /// What a branch began with; `None`: it isn't there any more.
    async fn beginning(&self, branch: &Branch, link: &Link) -> Result<Option<Kind>, Interrupt> {
        let stored = link.get(&self.setup.names.log, branch.sequence).await;
        let first = check(link, stored)?
            .and_then(|it| Settlement::read(self.setup.log, it.sequence, &it.payload))
            .filter(|first| first.is_beginning() && first.branch.name == branch.name);
        Ok(first.map(|first| first.kind))
    }

    /// Whether nodes may have removed a message of a branch: it is before the snapshot before the newest.
    async fn is_trimmed(
        &self,
        sequence: u64,
        branch: &Branch,
        link: &Link,
    ) -> Result<bool, Interrupt> {
        let newest = self.newest(link).await?.filter(|it| it.is_of(self.setup.log, branch));
        Ok(newest.is_some_and(|it| sequence < it.trimmed))
    }

    /// Whether the log has what was delivered, in the branch that is read.
    pub(super) async fn compare(
        &mut self,
        info: &StreamInfo,
        link: &Link,
    ) -> Result<Option<LostReason>, Interrupt> {
        let Place { sequence, nonce, .. } = self.delivered;
        if info.state.last_seq < self.read {
            return Ok(Some(LostReason::Shorter));
        }
        let log = &self.setup.names.log;
        if info.state.last_seq > self.read
            && check(link, link.get(log, self.read + 1).await)?.is_none()
        {
            return Ok(Some(LostReason::Trimmed));
        }
        if sequence == 0 {
            return Ok(None);
        }
        let stored = check(link, link.get(log, sequence).await)?;
        match (stored.and_then(|stored| self.entry(stored)), nonce) {
            (Some((found, _)), Some(nonce)) if found != nonce => Ok(Some(LostReason::Forked)),
            (None, Some(_)) => Ok(Some(LostReason::Trimmed)),
            (Some((nonce, stored)), None) => {
                self.learn(nonce, stored, link).await?;
                Ok(None)
            }
            // without a nonce: nothing is missing behind it
            (Some(_), Some(_)) | (None, None) => Ok(None),
        }
    }

    /// A message that was delivered, with its nonce.
    fn entry(&self, stored: Stored) -> Option<(u64, Stored)> {
        let nonce = if stored.subject == self.setup.names.settlements {
            Settlement::read(self.setup.log, stored.sequence, &stored.payload)?.run
        } else {
            Envelope::read(stored.payload.clone())?.nonce
        };
        Some((nonce, stored))
    }

    /// Learns what the batch is behind which the worker asked to follow: other nodes may not have it.
    async fn learn(&mut self, nonce: u64, stored: Stored, link: &Link) -> Result<(), Interrupt> {
        self.delivered.nonce = Some(nonce);
        let batch = match Envelope::read(stored.payload.clone()) {
            Some(entry) if stored.subject == self.setup.names.subject => {
                self.batch(entry.body, link).await?
            }
            Some(_) => None,
            None => {
                let fork = Settlement::read(self.setup.log, stored.sequence, &stored.payload);
                fork.map(|fork| fork.fork().into())
            }
        };
        if let Some(batch) = batch {
            let cursor = self.delivered.cursor;
            self.note_delivered(Entry { cursor, nonce, at: stored.at, batch });
        }
        Ok(())
    }

    /// Looks whether the log has what was delivered, and what who starts now needs; and how far it goes.
    pub(super) async fn look(&mut self, link: &Link) -> Result<(), Interrupt> {
        let names = &self.setup.names;
        let info = check(link, link.info_of(&names.log, &names.all_of_log()).await)?;
        let lasts = check(link, run::lasts(link, &names.log, self.settled.run).await)?;
        let StreamState { first_seq: first, last_seq: last, num_deleted: missing, .. } = info.state;
        let is_same = described_log(&info.config.description) == Some(self.setup.log);
        let is_settled = info.state.subjects.contains_key(&names.settlements);
        if !lasts || !is_same || last < self.read || !is_settled {
            return Err(Interrupt::Again);
        }
        let outline = Outline { first, missing, losses: self.setup.notices.losses() };
        if outline != self.outline && self.read >= self.end {
            if self.lacks_delivered(link).await? || self.lacks_beginning(last, link).await? {
                self.doubt_round(link).await?;
                return Err(Interrupt::Again);
            }
            self.outline = outline;
        }
        self.seen = self.seen.max(last);
        Ok(())
    }

    /// Whether the last batch that was delivered is gone, and wasn't trimmed.
    async fn lacks_delivered(&self, link: &Link) -> Result<bool, Interrupt> {
        let (Some(branch), Place { sequence, .. }) = (self.branch, self.delivered) else {
            return Ok(false);
        };
        let is_there = sequence == 0
            || check(link, link.get(&self.setup.names.log, sequence).await)?.is_some();
        Ok(!is_there && !self.is_trimmed(sequence, &branch, link).await?)
    }

    /// What the newest snapshot is.
    async fn newest(&self, link: &Link) -> Result<Option<Manifest>, Interrupt> {
        let names = &self.setup.names;
        let last = match link.last(&names.store, &names.manifests).await {
            Err(Fault::NoStream) => None,
            last => check(link, last)?,
        };
        Ok(last.and_then(|last| Manifest::read(&last.payload)))
    }

    /// Whether there is no snapshot behind which the log goes on. `last` is the sequence number of its last message.
    pub(super) async fn lacks_beginning(&self, last: u64, link: &Link) -> Result<bool, Interrupt> {
        let names = &self.setup.names;
        let Some(branch) = self.branch else { return Ok(true) };
        let newest = self.newest(link).await?.filter(|it| it.is_of(self.setup.log, &branch));
        let snapshot = if let Some(newest) = newest {
            newest.sequence
        } else {
            let Some(Kind::Begins { put_back, .. }) = self.beginning(&branch, link).await? else {
                return Ok(true);
            };
            if let Some(put_back) = put_back {
                let subject = names.parts_put_back(branch.name);
                let is_complete = match link.count(&names.store, &subject).await {
                    Err(Fault::NoStream) => false,
                    count => check(link, count)? >= put_back.count(),
                };
                if !is_complete {
                    return Ok(true);
                }
            }
            branch.sequence
        };
        Ok(last > snapshot && check(link, link.get(&names.log, snapshot + 1).await)?.is_none())
    }

    /// The same as `doubt_log`, unless somebody has settled the log since.
    pub(super) async fn doubt_round(&self, link: &Link) -> Result<(), Interrupt> {
        let standing = self.standing(link).await?;
        let is_known = standing
            .settlement
            .as_ref()
            .is_some_and(|last| last.round() == self.settled && !last.is_doubted());
        if is_known { self.doubt_log(&standing, self.settled, link).await } else { Ok(()) }
    }

    /// Says that the log has lost something since a round though its server runs on, unless more was said meanwhile. So
    /// all nodes stop at the same place.
    pub(super) async fn doubt_log(
        &self,
        standing: &Standing,
        since: Round,
        link: &Link,
    ) -> Result<(), Interrupt> {
        let branch = standing.settlement.as_ref().map(|last| last.branch);
        let branch = branch.or(self.branch).unwrap_or_default();
        let doubted = Settlement::doubted(self.setup.log, since, branch).write();
        let stored = link.store(&self.setup.names.settlements, doubted, Some(standing.sequence));
        match stored.await {
            Err(Fault::JetStream(Refusal { code: OTHER_LAST, .. })) => Ok(()),
            stored => check(link, stored.map(|_| ())),
        }
    }
}

/// Those of the batches that were put back which a node lacks that was delivered up to a place.
fn rest(delivered: Place, after: Last, entries: Vec<Entry>) -> Result<Vec<Entry>, LostReason> {
    let is_it = |cursor: u64, nonce: Option<u64>| {
        let is_other = nonce.zip(delivered.nonce).is_some_and(|(one, other)| one != other);
        (cursor == delivered.cursor).then_some(!is_other)
    };
    let mut place = is_it(after.cursor, after.nonce).map(|is_same| (0, is_same));
    for (number, entry) in (1..).zip(&entries) {
        let here = is_it(entry.cursor, Some(entry.nonce)).map(|is_same| (number, is_same));
        place = here.or(place);
    }
    match place {
        Some((skipped, true)) => Ok(entries.into_iter().skip(skipped).collect()),
        Some((_, false)) => Err(LostReason::Forked),
        None => Err(LostReason::Trimmed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_part_of_what_was_put_back_gets_the_rest() {
        let entry = |cursor| Entry { cursor, nonce: cursor * 10, at: 1, batch: "a".into() };
        let after = Last { cursor: 3, nonce: Some(30) };
        let rest = |cursor, nonce| {
            let place = Place { cursor, sequence: 0, nonce };
            let rest = rest(place, after, [5, 6, 9].map(entry).to_vec());
            rest.map(|rest| rest.iter().map(|it| it.cursor).collect::<Vec<_>>())
        };
        assert_eq!(rest(3, Some(30)), Ok(vec![5, 6, 9]));
        assert_eq!(rest(3, None), Ok(vec![5, 6, 9]));
        assert_eq!(rest(6, Some(60)), Ok(vec![9]));
        assert_eq!(rest(9, None), Ok(vec![]));
        assert_eq!(rest(6, Some(61)), Err(LostReason::Forked));
        assert_eq!(rest(4, Some(40)), Err(LostReason::Trimmed));
        assert_eq!(rest(2, None), Err(LostReason::Trimmed));
    }
}
