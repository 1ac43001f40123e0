//! Nodes that are gone: their connections have ended, as far as a shared log goes, and what only they have shown of it
//! isn't in it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Shard;
use super::shared::live;
use crate::log::{Change, Entry, NodeId, Origin, Position, Subscription};
use crate::shard::delivery::Destination;
use crate::shard::input::Input;
use crate::shard::outcome::Outcome;
use crate::shard::proposals::{Proposal, Task};
use crate::stream::Usage;
use crate::types::{JoinCause, StreamName};

impl<R: Destination> Shard<R> {
    /// Ends the connections that a node had which is gone, at their place in the log. Those that are parked
    /// can still be resumed, anywhere.
    pub fn end_sessions_of(
        &mut self,
        node: NodeId,
        ttl: Duration,
        at: (Position, u64),
        now: Instant,
    ) {
        let delay = live(&mut self.shared).delay;
        for (stream, by) in self.connected_of(node) {
            self.end_session(stream, by, ttl, at, now + delay);
        }
        self.end_use_of(node, at, now + delay);
    }

    /// The same for this node, which the others believe dead, and which lives. Its connections that were present
    /// join again, those that end by what isn't in the log, in `unsent`, only have their record back, if it is there
    /// still. The application's requests that aren't in the log never will be. Returns the proposals to append now.
    pub fn come_back(
        &mut self,
        ttl: Duration,
        unsent: Vec<Proposal>,
        at: (Position, u64),
        now: Instant,
    ) -> Vec<Proposal> {
        let unsent = self.drop_requests(unsent);
        let mut joins = Vec::new();
        let shared = live(&mut self.shared);
        let node = shared.node;
        let mut ends: HashSet<_> = unsent.iter().filter_map(Proposal::ended).collect();
        ends.extend(shared.waiting.iter().filter_map(|waiting| match &waiting.task {
            Task::Input { stream, input: Input::Ended { key, .. }, .. } => {
                Some((stream.clone(), key.subscription()))
            }
            Task::Input { .. } | Task::Later { .. } | Task::Sync(_) | Task::Change { .. } => None,
        }));
        for place in self.connected_of(node) {
            let max = if ends.contains(&place) { 0 } else { self.settings.max_members };
            let (stream, by) = place;
            joins.extend(self.join_again(&stream, &by, max).map(|join| (stream.clone(), join)));
            self.end_session(stream, by, ttl, at, now);
        }
        self.end_use_of(node, at, now);
        let shared = live(&mut self.shared);
        let waiting = std::mem::take(&mut shared.waiting);
        let proposed = std::mem::take(&mut shared.proposals); // by what ended just now
        for (stream, join) in joins {
            shared.propose_alone(stream, join, now);
        }
        shared.waiting.extend(waiting);
        let mut all = std::mem::take(&mut shared.proposals);
        all.extend(unsent);
        all.extend(proposed);
        self.take_turns(now); // of those that waited for what was dropped
        all
    }

    /// Drops the application's requests that wait, and what they proposed, which isn't in the log. Returns the other
    /// proposals.
    fn drop_requests(&mut self, unsent: Vec<Proposal>) -> Vec<Proposal> {
        let waiting = std::mem::take(&mut live(&mut self.shared).waiting);
        let mut unsent = unsent.into_iter();
        let mut kept = Vec::new();
        let mut is_dropped = false;
        for waiting in waiting {
            let proposed = unsent.by_ref().take(waiting.left);
            let ticket = match &waiting.task {
                Task::Input { input: Input::Publish(_), .. } => None,
                Task::Input {
                    input: Input::Put { ticket, .. } | Input::Kick { ticket, .. },
                    ..
                } => Some(*ticket),
                Task::Sync(ticket) if is_dropped => Some(*ticket),
                Task::Input { .. } | Task::Later { .. } | Task::Sync(_) | Task::Change { .. } => {
                    is_dropped = false;
                    kept.extend(proposed);
                    live(&mut self.shared).waiting.push_back(waiting);
                    continue;
                }
            };
            is_dropped = true;
            proposed.for_each(drop);
            self.outcomes.extend(ticket.map(|ticket| (ticket, Outcome::Dropped)));
        }
        kept.extend(unsent);
        kept
    }

    /// Has all histories begin again, at a place in the log.
    pub fn fork(&mut self, (position, at): (Position, u64), now: Instant) {
        self.forgotten = self.forgotten.max(at);
        let begun = self.streams.iter().filter(|stream| stream.state.has_begun());
        for stream in begun.map(|stream| stream.name.clone()).collect::<Vec<_>>() {
            self.apply_of_gone(stream, Change::Forked, (position, at), now);
        }
    }

    fn connected_of(&self, node: NodeId) -> Vec<(StreamName, Subscription)> {
        let ended = self.streams.iter().flat_map(|stream| {
            let connected = stream.state.connected_of(node);
            connected.into_iter().map(|by| (stream.name.clone(), by))
        });
        ended.collect()
    }

    fn end_session(
        &mut self,
        stream: StreamName,
        by: Subscription,
        ttl: Duration,
        at: (Position, u64),
        since: Instant,
    ) {
        self.apply_of_gone(stream, Change::Ended { by, ttl, parking: None }, at, since);
    }

    /// A node that is gone uses no stream.
    fn end_use_of(&mut self, node: NodeId, at: (Position, u64), since: Instant) {
        let used = self.streams.iter().filter(|stream| stream.state.usage() == Usage::By(node));
        for stream in used.map(|stream| stream.name.clone()).collect::<Vec<_>>() {
            self.apply_of_gone(stream, Change::Used { by: None }, at, since);
        }
    }

    fn apply_of_gone(
        &mut self,
        stream: StreamName,
        change: Change,
        (position, at): (Position, u64),
        since: Instant,
    ) {
        let entry = Entry { position, at, origin: Origin::default(), stream, change };
        self.apply_in_place(entry, since).ok(); // it is never void
    }

    /// A join that gives a subscription the record that it has now. With a maximum of no members it is void once the
    /// member has left.
    fn join_again(
        &self,
        stream: &StreamName,
        by: &Subscription,
        max_members: usize,
    ) -> Option<Change> {
        let presence = self.streams.named(stream)?.state.presence();
        let join = presence.join_of(presence.held_by(by)?);
        Some(Change::Joined {
            by: by.clone(),
            id: join.id,
            info: join.info,
            extra: join.extra,
            cause: JoinCause::Joined,
            is_update: false,
            max_members,
        })
    }
}
