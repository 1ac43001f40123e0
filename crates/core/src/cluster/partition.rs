//! A partition on one node.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::admission::{Admission, ForkId, Refused};
use super::asks::{Answered, Ask, AskId, Asks, Heard};
use super::batch::{Batch, Item};
use super::digest::{Compared, Digest, Digests};
use super::in_force::InForce;
use super::members::{Members, Overdue};
use super::rules::{KnownRules, Rules, Unknown};
use super::sessions::{self, Changed, LeftSession, Sessions, TakenSession};
use crate::log::{Entry, KnownSession, NodeId, Origin, Position, SessionChange};
use crate::shard::{Destination, Proposal, Settings, Shard};
use crate::stream::mix;
use crate::types::SessionId;

/// Items of a batch, at most; more only where those of one input are adjacent.
const MAX_ITEMS: usize = 256;

/// Beats in the time of a lease: so that four may be late before their node is believed dead.
const BEATS_A_LEASE: u32 = 5;

/// A partition on one node: a replica of its streams, and what the node has to append.
///
/// One batch is on its way at a time, and what is proposed meanwhile gathers for the next: the more there is to do,
/// the larger the batches.
#[derive(Debug)]
pub struct Partition<R> {
    pub(super) node: NodeId,
    /// This node's incarnation in this log.
    incarnation: u32,
    pub(super) shard: Shard<R>,
    /// Position of the last item that was read.
    pub(super) position: Position,
    pub(super) admission: Admission,
    pub(super) members: Members,
    pub(super) in_force: InForce,
    /// If this is the log that has the beats.
    beats: Option<Beats>,
    /// Nodes that were found to be gone, and are to be excluded from all logs, with their incarnations.
    pub(super) departed: Vec<(NodeId, u32)>,
    /// The sessions that the application knows.
    pub(super) sessions: Sessions,
    /// What this node has asked the others, and what it was asked.
    asks: Asks,
    /// Its digests, and what came of comparing them.
    digests: Digests,
    /// What to append next.
    items: VecDeque<Item>,
    /// The batch on its way: until it comes back, it may have to be appended again.
    sent: Option<Batch>,
    /// Whether it is with the engine, as far as is known.
    is_with_engine: bool,
    /// Number of the incarnation's last batch.
    number: u64,
}

/// When a node beats.
#[derive(Clone, Copy, Debug)]
struct Beats {
    lease: Duration,
    /// When the next one is due.
    due: Instant,
}

impl<R: Destination> Partition<R> {
    /// An empty partition, of a node that knows some rules.
    pub fn new(settings: Settings, node: NodeId, known: KnownRules, now: Instant) -> Self {
        Self {
            node,
            incarnation: 1,
            shard: Shard::sharing(settings, node, now),
            position: Position::default(),
            admission: Admission::default(),
            members: Members::default(),
            in_force: InForce::new(known),
            beats: None,
            departed: Vec::new(),
            sessions: Sessions::default(),
            asks: Asks::default(),
            digests: Digests::default(),
            items: VecDeque::new(),
            sent: None,
            is_with_engine: false,
            number: 0,
        }
    }

    /// Its streams.
    pub fn shard(&self) -> &Shard<R> {
        &self.shard
    }

    /// The same, for inputs and outputs.
    pub fn shard_mut(&mut self) -> &mut Shard<R> {
        &mut self.shard
    }

    /// Position of the last item that was read, be it of a batch that was skipped.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Has the node beat in this log, and accuse those whose beats stay out for a lease. Only one log has beats.
    pub fn begin_beating(&mut self, lease: Duration, now: Instant) {
        self.beats = Some(Beats { lease, due: now });
    }

    /// Time of the next [`Partition::handle_timeout`]. The shard has its own.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.beats.map(|beats| beats.due)
    }

    /// Beats, if it is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(Beats { lease, due }) = &mut self.beats else { return };
        if *due > now {
            return;
        }
        let beat = beat(*lease, self.in_force.known());
        *due = now + beat_interval(*lease);
        // while nothing can be appended, one beat is enough
        if !self.items.contains(&beat) {
            self.items.push_back(beat);
        }
        for Overdue { node, beat } in self.members.overdue(*lease) {
            if node != self.node {
                self.items.push_back(Item::Overdue { node, beat, lease: *lease });
            }
        }
        self.propose_rules();
    }

    /// Proposes the next rules in the log that has the beats, if all members know them.
    pub fn propose_rules(&mut self) {
        if let Some(rules) = self.in_force.next().filter(|rules| self.members.all_know(*rules)) {
            self.follow_rules(rules);
        }
    }

    /// The rules that the node knows.
    pub fn known(&self) -> KnownRules {
        self.in_force.known()
    }

    /// The rules in force, once anything was applied.
    pub fn rules(&self) -> Option<Rules> {
        self.in_force.rules()
    }

    /// The rules by which it writes.
    pub fn rules_to_write(&self) -> Rules {
        self.in_force.to_write()
    }

    /// Skips a batch that is written by rules that the node doesn't know. If they aren't old, it stops.
    pub fn skip(&mut self, rules: Rules) {
        self.in_force.admit(rules).ok(); // it is skipped in any case
    }

    /// The rules that this node has met and doesn't know. Since then it applies and appends nothing.
    pub fn unknown(&self) -> Option<Unknown> {
        self.in_force.unknown()
    }

    /// Proposes the next rules in another log, if they aren't newer than these, which the log with the beats has. If
    /// nothing is in it yet, it begins with these.
    pub fn follow_rules(&mut self, to: Rules) {
        self.in_force.begin_with(to);
        if let Some(next) = self.in_force.next().filter(|next| *next <= to)
            && !self.items.contains(&Item::Rules(next))
        {
            self.items.push_back(Item::Rules(next));
        }
    }

    /// This node's incarnation: one more each time that the others have believed it dead.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The nodes that may append to this log, with their incarnations.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, u32)> {
        self.admission.nodes()
    }

    /// The nodes that beat in this log: only one log has beats.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Other nodes that were found to be gone since the last call, with their incarnations. All nodes find the same,
    /// and propose [`Item::Gone`] in every log: the first one counts. What a node proposes of itself is its stop.
    pub fn take_departed(&mut self) -> Vec<(NodeId, u32)> {
        std::mem::take(&mut self.departed)
    }

    /// Whether something waits to be appended, or to come back.
    pub fn is_waiting(&self) -> bool {
        self.sent.is_some() || !self.items.is_empty() || self.shard.waiting() > 0
    }

    /// Asks all nodes to do something, or the one that is given, in the log that has the beats. What becomes of it is
    /// in [`Partition::take_answered`] under the number that this returns.
    pub fn ask(&mut self, of: Option<NodeId>, ask: Ask) -> u64 {
        let number = self.asks.next_number();
        self.items.push_back(Item::Ask { number, of, ask });
        number
    }

    /// What this node was asked since the last call, by itself, too.
    pub fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.asks.heard)
    }

    /// What became since the last call of what this node has asked.
    pub fn take_answered(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.asks.answered)
    }

    /// Changes what the application knows of a session. What becomes of it is in [`Partition::take_changed`] under the number
    /// that this returns. `None` as long as the log has no sessions: some node may not know them.
    pub fn change_session(&mut self, change: SessionChange) -> Option<u64> {
        if self.in_force.to_write() < sessions::RULES {
            return None;
        }
        let number = self.sessions.next_number();
        self.items.push_back(Item::Session { number, change });
        Some(number)
    }

    /// What became since the last call of changes of sessions that this node has proposed.
    pub fn take_changed(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.sessions.changed)
    }

    /// Sessions whose nodes were found to be gone since the last call. Any node may take them over.
    pub fn take_left(&mut self) -> Vec<LeftSession> {
        std::mem::take(&mut self.sessions.left)
    }

    /// Takes a session over whose node is gone, unless another node does so first.
    pub fn take_over(&mut self, LeftSession { sid, at }: LeftSession) {
        if self.session(sid).is_some_and(|session| session.left == Some(at)) {
            let [_, secret] = sid.halves();
            let change =
                SessionChange::Moved { from: sid, to: self.node.session(secret), left: Some(at) };
            self.change_session(change);
        }
    }

    /// Sessions that this node has taken over since the last call.
    pub fn take_taken(&mut self) -> Vec<TakenSession> {
        std::mem::take(&mut self.sessions.taken)
    }

    /// The sessions that the application knows, in no order.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &KnownSession)> {
        self.sessions.known.iter()
    }

    /// A session that the application knows.
    pub fn session(&self, sid: SessionId) -> Option<&KnownSession> {
        self.sessions.known.get(sid)
    }

    /// Has all nodes compare what they had at the last [`Item::Digest`] with what this one had, and note what they have at
    /// the next.
    pub fn propose_digest(&mut self) {
        self.items.push_back(Item::Digest(self.digests.last));
    }

    /// Position of the last [`Item::Digest`]; 0 if this node hasn't applied any.
    pub fn last_digest(&self) -> Position {
        self.digests.last.of
    }

    /// Digest of all that is the same in every replica that has read as far.
    pub fn digest(&self) -> u64 {
        let nodes = mix(self.admission.digest(), self.members.digest());
        let digest = mix(mix(self.shard.digest(), self.shard.forgotten()), nodes);
        // a node that knows no sessions has the same digest as long as there are none
        if self.sessions.known.is_empty() { digest } else { mix(digest, self.sessions.digest()) }
    }

    /// What came since the last call of comparing digests of other nodes with this one's.
    pub fn take_compared(&mut self) -> Vec<Compared> {
        self.digests.take()
    }

    /// Proposes something else than a change.
    pub fn propose(&mut self, item: Item) {
        self.items.push_back(item);
    }

    /// The batch to append now, if there is one. It is appended again after
    /// [`Partition::handle_append_failed`].
    pub fn poll_append(&mut self) -> Option<&Batch> {
        if self.is_with_engine || self.in_force.unknown().is_some() {
            return None;
        }
        self.items.extend(self.shard.take_proposals().into_iter().map(Item::Change));
        if self.sent.is_none() && !self.items.is_empty() {
            self.number += 1;
            let (node, incarnation, number) = (self.node, self.incarnation, self.number);
            let (rules, items) = (self.in_force.to_write(), self.next_items());
            self.sent = Some(Batch { rules, node, incarnation, number, items });
        }
        if let Some(sent) = &mut self.sent {
            sent.rules = self.in_force.to_write(); // they may have been raised meanwhile
        }
        self.is_with_engine = self.sent.is_some();
        self.sent.as_ref()
    }

    fn next_items(&mut self) -> Vec<Item> {
        let continues = |item: &Item| match item {
            Item::Change(proposal) => proposal.continues,
            Item::Beat { .. }
            | Item::Overdue { .. }
            | Item::Gone { .. }
            | Item::Ask { .. }
            | Item::Answer { .. }
            | Item::Digest(_)
            | Item::Rules(_)
            | Item::Session { .. } => false,
        };
        let mut count = MAX_ITEMS.min(self.items.len());
        while count < self.items.len() && self.items.get(count - 1).is_some_and(continues) {
            count += 1;
        }
        let is_raise = |item: &Item| matches!(item, Item::Rules(_));
        if let Some(last) = self.items.iter().take(count).position(is_raise) {
            count = last + 1; // what is behind it is written by other rules
        }
        self.items.drain(..count).collect()
    }

    /// The engine didn't confirm the batch: it may be in the log or not.
    pub fn handle_append_failed(&mut self) {
        self.is_with_engine = false;
    }

    /// Applies a batch of any node, in the order of the log. `first` is the position of its first item, `at` the
    /// engine's time in milliseconds of the Unix epoch. `Err` is why all nodes skip it.
    pub fn apply(
        &mut self,
        first: Position,
        at: u64,
        batch: Batch,
        now: Instant,
    ) -> Result<(), Refused> {
        if first <= self.position {
            return Err(Refused::Again); // it would be judged anew, by what came behind it
        }
        let length = u64::try_from(batch.items.len()).unwrap_or(u64::MAX);
        self.position = Position(first.0.saturating_add(length).saturating_sub(1));
        let is_sent = self.sent.as_ref().is_some_and(|sent| is_same(sent, &batch));
        if let Err(refused) = self.in_force.admit(batch.rules) {
            self.is_with_engine &= !is_sent; // it is appended again
            return Err(refused);
        }
        self.admission.admit(&batch)?;
        let by = (batch.node, batch.incarnation);
        if is_sent {
            (self.sent, self.is_with_engine) = (None, false);
        }
        for (item, number) in batch.items.into_iter().zip(first.0..) {
            let position = Position(number);
            match item {
                Item::Change(Proposal { request, stream, change, .. }) => {
                    let origin = Origin { node: batch.node, request };
                    let entry = Entry { position, at, origin, stream, change };
                    // void: whoever proposed it is told
                    self.shard.apply(entry, now).ok();
                }
                Item::Beat { interval, knows } => {
                    self.members.beat(by, position, (interval, knows), at);
                }
                Item::Overdue { node, beat, lease } => {
                    if self.members.is_overdue(Overdue { node, beat }, lease)
                        && let Some(incarnation) = self.members.depart(node)
                        && node != self.node
                    {
                        self.departed.push((node, incarnation));
                    }
                }
                Item::Gone { node, incarnation, ttl } => {
                    if self.admission.exclude(node, incarnation) {
                        self.members.remove(node);
                        if node != self.node {
                            self.asks.remove(node); // this one may yet answer itself
                        }
                        self.end(by, (node, incarnation), ttl, (position, at), now);
                    }
                    if (node, incarnation) == by {
                        break; // what it says after its own end doesn't count
                    }
                }
                Item::Ask { number, of, ask } => {
                    self.hear(Heard { by: AskId { node: by.0, number }, ask }, of);
                }
                Item::Answer { to, answer } => {
                    if to.node == self.node {
                        self.asks.answer(to.number, by.0, answer);
                    }
                }
                Item::Digest(theirs) => {
                    if by.0 != self.node {
                        self.digests.compare(by.0, theirs);
                    }
                    self.digests.last = Digest { of: position, hash: self.digest() };
                }
                Item::Rules(rules) => {
                    if self.members.all_know(rules) {
                        self.in_force.raise(rules)?;
                    }
                }
                Item::Session { number, change } => {
                    let number = Some(number).filter(|_| by.0 == self.node);
                    self.sessions.apply(position, &change, (self.node, number));
                }
            }
        }
        Ok(())
    }

    /// The log goes on without what nodes may have applied that are gone. `Err` is why all nodes skip that.
    pub fn fork(&mut self, fork: ForkId, at: (Position, u64), now: Instant) -> Result<(), Refused> {
        if at.0 <= self.position {
            return Err(Refused::Again);
        }
        self.in_force.unknown().map_or(Ok(()), Err)?;
        self.position = at.0;
        self.admission.admit_fork(fork)?;
        self.shard.fork(at, now);
        Ok(())
    }

    /// All that are members now are asked something, or one of them.
    fn hear(&mut self, heard: Heard, of: Option<NodeId>) {
        let is_asked = |node: &NodeId| of.is_none_or(|of| of == *node);
        if heard.by.node == self.node {
            let own = Some(self.node); // be it that it hasn't beaten yet
            let asked = self.members.nodes().chain(own).filter(is_asked).collect();
            self.asks.open(heard.by.number, asked);
        }
        if is_asked(&self.node) {
            self.asks.heard.push(heard);
        }
    }

    /// Ends an incarnation of a node, as one of the nodes has it: itself, when it stops.
    fn end(
        &mut self,
        by: (NodeId, u32),
        (node, incarnation): (NodeId, u32),
        ttl: Duration,
        at: (Position, u64),
        now: Instant,
    ) {
        let is_own = node == self.node && by.0 != node;
        let known = self.sessions.leave(node, at.0, is_own);
        if !is_own {
            return self.shard.end_sessions_of(node, ttl, at, now);
        }
        // it lives: what isn't in the log by now, never will be, so the next incarnation proposes it
        let rules = self.in_force.known();
        let beat = self.beats.map(|Beats { lease, .. }| beat(lease, rules)); // first of all, so that it can be missed
        let sent = self.sent.take().map(|batch| batch.items).unwrap_or_default();
        let (mut changes, mut others) = (Vec::new(), Vec::new());
        for item in sent.into_iter().chain(self.items.drain(..)) {
            match item {
                Item::Change(proposal) => changes.push(proposal),
                Item::Ask { number, .. } => self.asks.drop(number),
                Item::Rules(_) => {} // if they are due, they are proposed again
                Item::Beat { .. }
                | Item::Overdue { .. }
                | Item::Gone { .. }
                | Item::Answer { .. }
                | Item::Digest(_)
                | Item::Session { .. } => others.push(item),
            }
        }
        changes.extend(self.shard.take_proposals());
        let changes = self.shard.come_back(ttl, changes, at, now);
        let known = known.into_iter().map(|change| Item::Session { number: 0, change });
        let all = beat.into_iter().chain(known).chain(others);
        self.items = all.chain(changes.into_iter().map(Item::Change)).collect();
        (self.incarnation, self.number, self.is_with_engine) =
            (incarnation.saturating_add(1), 0, false);
    }
}

/// How often a node beats, for a lease.
pub fn beat_interval(lease: Duration) -> Duration {
    lease / BEATS_A_LEASE
}

fn beat(lease: Duration, known: KnownRules) -> Item {
    Item::Beat { interval: beat_interval(lease), knows: known.newest }
}

fn is_same(one: &Batch, other: &Batch) -> bool {
    let names = |batch: &Batch| (batch.node, batch.incarnation, batch.number);
    names(one) == names(other)
}
