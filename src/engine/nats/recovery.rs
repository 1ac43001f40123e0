//! Recovery: NATS may have lost batches that nodes have applied, so one of them puts these back.
//!
//! NATS loses what is in memory when it restarts, and all that is purged, deleted or replaced by older files. A log names
//! the [`run`](super::run) of its server in which it was last found whole. In another one nobody reads on until it is
//! *settled*:
//!
//! ```text
//! each node      bids what it has of the log, again and again, to all that listen; the streams are created anew
//! each node      waits until all that are there have bid, for a lease at most
//! who has most   stores a settlement: the log goes on; or a new branch of it begins, with this node's state and its last
//!                batches; if a node is missing, with a *fork*: it may have had more
//! the same       lets the run begin
//! each node      reads on: in the same branch, or behind what was put back
//! ```
//!
//! What always holds:
//!
//! - **A settlement is one message.** What it names (the state, the batches) was stored before. It is stored only if the
//!   last one is still that which its writer knew, so of two writers one is refused. Who dies before it has changed nothing.
//! - **A run begins by who stored its settlement, and only behind it.** So where a run lasts, all is there that was before
//!   its settlement. Who dies in between leaves a log that isn't settled: all begin again, in the next round.
//! - **What was bid is what its node has**, as long as nothing is settled: then it may have read on. So bids count on the same
//!   [`Ground`] only; if that isn't the same behind a settlement, no run begins. A purge may take the settlement with it, and a
//!   stream may be another one of the same name.
//! - **All stop.** Where there is no settlement, whoever recovers says that the log is doubted, and that again when it is
//!   gone, too: a node that reads on, since its run lasts, stops there.
//! - **Nobody reads on in a run that hasn't begun.** A consumer delivers in one run only, and is made before the run is
//!   looked at. So nobody has had anything that comes into a log before it is settled, and what is stored there by who
//!   hasn't noticed the loss is either in the log for all, or for nobody and is appended again.
//! - **A place is given to one batch.** In a branch, a cursor is the sequence number and what it is ahead; a new branch goes on
//!   behind what its writer had. Where nodes are missing that may have had more, cursors are left out.
//! - **Who has what the log hasn't, ends.** A node goes over to another branch only if what it was delivered last is among
//!   the batches that were put back, with its nonce; it stays in a branch only if the log has that.

use std::time::Duration;

use bytes::Bytes;

use super::api::{OTHER_LAST, StreamInfo};
use super::ballot::Ballot;
use super::fault::{Fault, Refusal};
use super::follower::{Follower, Interrupt, Setup, check};
use super::link::Link;
use super::names::described_log;
use super::prove::Standing;
use super::settlement::{Kind, PutBack, Settlement};
use super::{parts, recent, run};
use crate::engine::bids::{Bid, Bids};
use crate::engine::event::{Cursor, LostReason};
use crate::engine::feed::Feed;

/// What stays as it is while nothing is settled. If it doesn't, what nodes have bid may not be what they have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ground {
    /// When the log's stream was created.
    created: String,
    /// Sequence number of its first message; 0 if nobody has looked.
    first: u64,
    /// That of the last settlement.
    settled: u64,
}

/// How often it is asked whether the log is settled.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Follower {
    /// Bids, and waits until the log is settled, by this node if it has most.
    pub(super) async fn recover(&mut self, link: &Link, feed: &mut Feed) -> Result<(), Interrupt> {
        self.doubt();
        feed.forget_end();
        self.open_streams(link).await?;
        let ballot = Ballot::open(link, &self.setup.names.bids, self.setup.log);
        let mut ballot = check(link, ballot.await)?;
        let mut ground = Ground::default();
        let (mut before, mut waited) = (Bids::default(), Duration::ZERO);
        loop {
            let standing = self.standing(link).await?;
            if self.is_settled(&standing, link).await? {
                return Ok(());
            }
            if standing.sequence != ground.settled || ground.first == 0 {
                if standing.settlement.is_none() {
                    // it may have been purged, and others read on: they do up to the same place
                    self.doubt_log(&standing, self.settled, link).await?;
                }
                ground = self.ground(link).await?;
                ballot.forget();
                continue;
            }
            let (own, members) = (self.setup.nodes.own, self.setup.nodes.members());
            let bids = check(link, ballot.turn(own, self.has()).await)?;
            if bids != before {
                (before, waited) = (bids.clone(), Duration::ZERO);
            }
            if waited >= bids.patience(own, &members, self.setup.nodes.lease) {
                let forks = bids.may_lack(own, &members);
                if self.settle(&standing, &ground, forks, link, feed).await? {
                    return Ok(());
                }
                ground = Ground::default();
            }
            self.pause(link).await?;
            waited += ASK_AGAIN;
        }
    }

    /// The ground on which nodes bid.
    async fn ground(&self, link: &Link) -> Result<Ground, Interrupt> {
        let settled = self.standing(link).await?.sequence;
        let StreamInfo { created, state, .. } =
            check(link, link.info(&self.setup.names.log).await)?;
        Ok(Ground { created, first: state.first_seq.max(1), settled })
    }

    /// Creates the streams that aren't there.
    async fn open_streams(&self, link: &Link) -> Result<(), Interrupt> {
        let streams = &self.setup.streams;
        check(link, streams.open_store(link).await)?;
        let opened = streams.open_log(link, &self.setup.names, self.setup.log);
        let description = check(link, opened.await)?.config.description;
        if described_log(&description) == Some(self.setup.log) {
            Ok(())
        } else {
            Err(Interrupt::Lost(LostReason::Replaced))
        }
    }

    /// Settles the log, with a fork if something may be lost; returns whether it is settled now.
    async fn settle(
        &mut self,
        standing: &Standing,
        ground: &Ground,
        forks: bool,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<bool, Interrupt> {
        let last = standing.settlement.as_ref();
        let run = self.next_random();
        let round = last.map_or(0, |last| last.round).max(self.settled.round) + 1;
        let Setup { partition, log, forks: make, .. } = &self.setup;
        let fork = if forks { make.make(*partition, *log, run).into() } else { Vec::new() };
        let settlement = match last {
            Some(last) if self.is_whole(last, link).await? => last.going_on(round, run, fork),
            Some(_) | None => {
                let put_back = self.put_back(run, link, feed).await?;
                Settlement::beginning(self.setup.log, (round, run), Some(put_back), fork)
            }
        };
        let names = self.setup.names.clone();
        let stored = link.store(&names.settlements, settlement.write(), Some(standing.sequence));
        let sequence = match stored.await {
            Err(Fault::JetStream(Refusal { code: OTHER_LAST, .. })) => return Ok(false),
            stored => check(link, stored)?,
        };
        if *ground != (Ground { settled: standing.sequence, ..self.ground(link).await? }) {
            return Ok(false); // others may have settled it, and read on, since they bid
        }
        if let Kind::Begins { put_back: Some(put_back), .. } = &settlement.kind {
            let count = link.count(&names.store, &names.parts_put_back(run)).await;
            if check(link, count)? < put_back.count() {
                return Ok(false); // somebody has removed them
            }
        }
        let begun = run::begin(link, &names.log, (run, sequence), self.setup.timeout).await;
        if !check(link, begun)? {
            return Ok(false);
        }
        if let Kind::Begins { put_back: Some(put_back), .. } = &settlement.kind {
            self.setup.notices.note_put_back();
            check(link, self.tidy(put_back, (run, sequence), link).await)?;
        }
        if let Some(last) = last {
            check(link, run::end(link, &names.log, last.run).await)?;
        }
        Ok(true)
    }

    /// Whether the log has all that was delivered here, and what who starts now needs. `last` is its last settlement.
    async fn is_whole(&mut self, last: &Settlement, link: &Link) -> Result<bool, Interrupt> {
        if self.branch.is_none() && !last.is_doubted() && !self.take_up(last) {
            return Err(Interrupt::Lost(LostReason::Trimmed)); // there is a newer snapshot
        }
        if last.is_doubted() || self.branch.is_none_or(|branch| branch.name != last.branch.name) {
            return Ok(false);
        }
        let info = check(link, link.info(&self.setup.names.log).await)?;
        let has_all = self.compare(&info, link).await?.is_none();
        Ok(has_all && !self.lacks_beginning(info.state.last_seq, link).await?)
    }

    /// Stores this node's state, and the batches that were delivered last.
    async fn put_back(
        &mut self,
        run: u64,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<PutBack, Interrupt> {
        let state = self.state(link, feed).await?;
        let subject = self.setup.names.parts_put_back(run);
        let mut put_back = PutBack { at: self.delivered.cursor, ..PutBack::default() };
        for chunk in &state {
            put_back.chunks.push(check(link, parts::write(link, &subject, chunk).await)?);
        }
        let recent = recent::write(&self.recent);
        put_back.recent = check(link, parts::write(link, &subject, &recent).await)?;
        Ok(put_back)
    }

    /// This node's state, as of the last batch that was delivered.
    async fn state(&mut self, link: &Link, feed: &Feed) -> Result<Vec<Bytes>, Interrupt> {
        let delivered = Cursor(self.delivered.cursor);
        feed.state_wanted().await?;
        loop {
            if let Some(state) = self.setup.requests.take_state(delivered) {
                return Ok(state);
            }
            self.until_asked(link).await?;
        }
    }

    /// Removes what nobody needs any more when a branch has begun.
    async fn tidy(
        &self,
        put_back: &PutBack,
        (run, sequence): (u64, u64),
        link: &Link,
    ) -> Result<(), Fault> {
        let names = &self.setup.names;
        let own = names.parts_put_back(run);
        for subject in link.subjects(&names.store, &names.all_put_back()).await? {
            if subject != own {
                link.purge(&names.store, &subject, put_back.end()).await?;
            }
        }
        link.purge(&names.log, &names.subject, sequence).await?;
        link.purge(&names.log, &names.settlements, sequence).await
    }

    async fn pause(&self, link: &Link) -> Result<(), Interrupt> {
        let pause = tokio::time::sleep(ASK_AGAIN);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return Ok(()),
                asked = self.until_asked(link) => asked?,
            }
        }
    }

    /// Waits until the worker asks for anything.
    async fn until_asked(&self, link: &Link) -> Result<(), Interrupt> {
        tokio::select! {
            () = self.setup.requests.changed() => {}
            _ = link.fault() => return Err(Interrupt::Disconnected(link.number())),
        }
        if self.setup.requests.asks_to_follow() { Err(Interrupt::Asked) } else { Ok(()) }
    }

    fn has(&self) -> Bid {
        let cursor = self.delivered.cursor;
        Bid { cursor, nonce: self.delivered.nonce.unwrap_or(0), ..Bid::default() }
    }
}
