//! Recovery: Redis may have lost batches that nodes have applied, so one of them puts these back.
//!
//! Redis loses what it hadn't saved when it restarts, all that it has when it is emptied, and what hadn't reached the
//! replica that takes its place. A log names the *run* of the server, in which it was last found whole. In another
//! one nothing is appended to it, and nobody reads on, until it is *settled*:
//!
//! ```text
//! each node      bid: what it has of the log
//! each node      waits until all that are there have bid, for a lease at most
//! who has most   settles it: the log has all that it has, or it puts its state and its last batches back;
//!                if a node is missing, with a *fork* behind them: it may have had more
//! each node      reads on
//! ```
//!
//! Cursors, positions and identity of the log stay, so clients notice a pause. A node that comes back later and has
//! what the log hasn't gets [`LostReason`].

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::bids;
use super::decisions::{next_round, nonce, settling};
use super::entry::bytes;
use super::fault::Fault;
use super::follower::{Follower, Interrupt, Parts, Place, check, ended};
use super::link::Link;
use super::scripts::{self, OTHER, SETTLED, Settling};
use super::snapshots;
use crate::engine::bids::{Bid, Bids};
use crate::engine::event::{Cursor, LostReason};
use crate::engine::feed::Feed;

/// How often it is asked whether the log is settled.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Follower {
    /// Bids, and waits until the log is settled, by this node if it has most. `rounds` is the last round in Redis.
    pub(super) async fn recover(
        &mut self,
        rounds: u64,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<(), Interrupt> {
        feed.forget_end();
        let mut waited = Duration::ZERO;
        while let Some((bids, ballot)) = self.bid(link).await? {
            let nodes = &self.parts.nodes;
            let (patience, forks) = settling(&bids, nodes.own, &nodes.members(), nodes.lease);
            let rounds = [rounds, bids.round(), self.round.unwrap_or(0)];
            let fork = if forks { self.make_fork() } else { Bytes::new() };
            let settling = Settling { ballot, round: next_round(rounds, ballot) };
            if waited >= patience && self.settle(&fork, settling, link, feed).await? {
                break;
            }
            self.pause(link).await?;
            waited += ASK_AGAIN;
        }
        Ok(())
    }

    fn make_fork(&mut self) -> Bytes {
        let number = self.random();
        let Parts { partition, log, forks, .. } = &self.parts;
        forks.make(*partition, *log, number)
    }

    /// The bids so far, this node's included, and their ballot; `None` if the log is settled.
    async fn bid(&mut self, link: &Link) -> Result<Option<(Bids, u64)>, Interrupt> {
        let (ours, ballot) = ((self.parts.nodes.own, self.has()), self.random());
        let bid = scripts::bid(&self.parts.keys, self.of(link), ours, ballot);
        let answer = check(link, link.ask(&bid).await)?;
        if let Value::Array(fields) = answer {
            return check(link, bids::read(fields).ok_or(Fault::Unexpected)).map(Some);
        }
        says_settled(link, answer).map(|_| None)
    }

    /// Settles the log, with a batch behind it unless that is empty; returns whether it is settled now.
    async fn settle(
        &mut self,
        fork: &[u8],
        settling: Settling,
        link: &Link,
        feed: &mut Feed,
    ) -> Result<bool, Interrupt> {
        let behind = (nonce(settling.round, self.random()), fork);
        let confirm =
            scripts::confirm(&self.parts.keys, self.of(link), self.has(), settling, behind);
        let confirmed = check(link, link.ask(&confirm).await)?;
        if says_settled(link, confirmed)? {
            return Ok(true);
        }
        let state = self.state(link, feed).await?;
        let (name, count) = (format!("{:016x}", self.random()), state.len());
        let keys = &self.parts.keys;
        check(link, snapshots::upload(link, keys, &name, state).await)?;
        let (snapshot, entries) = ((name.as_str(), count), self.recent.entries());
        let (log, cursor) = (self.of(link), self.delivered.cursor);
        let restore = scripts::restore(keys, log, snapshot, cursor, settling, entries, behind);
        let is_settled = says_settled(link, check(link, link.ask(&restore).await)?)?;
        if is_settled {
            self.parts.put_back.fetch_add(1, Ordering::Relaxed);
        }
        Ok(is_settled)
    }

    /// This node's state, as of the last batch that was delivered.
    async fn state(&mut self, link: &Link, feed: &Feed) -> Result<Vec<Bytes>, Interrupt> {
        let delivered = Cursor(self.delivered.cursor);
        feed.state_wanted().await?;
        loop {
            if let Some(state) = self.parts.requests.take_state(delivered) {
                return Ok(state);
            }
            self.until_asked(link).await?;
        }
    }

    async fn pause(&mut self, link: &Link) -> Result<(), Interrupt> {
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
    async fn until_asked(&mut self, link: &Link) -> Result<(), Interrupt> {
        let mut links = self.parts.links.clone();
        tokio::select! {
            () = self.parts.requests.changed() => {}
            () = ended(&mut links, link.number) => return Err(Interrupt::Disconnected),
        }
        if self.parts.requests.asks_to_follow() { Err(Interrupt::Asked) } else { Ok(()) }
    }

    /// Says that Redis has lost something without having restarted, unless somebody has settled that already.
    pub(super) async fn doubt(&mut self, link: &Link, round: u64) -> Result<(), Interrupt> {
        let doubt = scripts::doubt(&self.parts.keys, self.parts.log, round);
        check(link, link.ask(&doubt).await)?;
        Ok(())
    }

    fn has(&self) -> Bid {
        let Place { cursor, nonce } = self.delivered;
        Bid { round: self.latest, cursor, nonce: nonce.unwrap_or(0) }
    }
}

/// Whether the log is settled, as a script says.
fn says_settled(link: &Link, answer: Value) -> Result<bool, Interrupt> {
    let answer = check(link, bytes(answer).ok_or(Fault::Unexpected))?;
    if answer == OTHER.as_bytes() {
        return Err(Interrupt::Lost(LostReason::Replaced));
    }
    Ok(answer == SETTLED.as_bytes())
}
