//! Ends of connections, and resumes.

use std::collections::BTreeSet;

use broker::shard::{End, Input, Outcome, SubscriberKey, Ticket};
use broker::types::{Grant, LeaveCause, Listing, StreamCommand};

use super::super::presences::Holder;
use super::clients::{Broken, Follower, Parked};
use super::{CONNECTIONS, MAX_UNACKED, World, name};

/// How much earlier than what is lost a doubt begins, in milliseconds.
const MARGINS: [u64; 4] = [0, 10, 120, 600];

/// A stream's journal may be shorter than what has happened from then on.
const LONGEST_JOURNAL: usize = 1000;

impl World {
    /// A connection ends for good, which is noticed some milliseconds late.
    pub(super) fn disconnect(&mut self, connection: usize, late: usize) {
        self.end_session(connection % CONNECTIONS, self.now.saturating_sub(late as u64), false);
    }

    /// A connection breaks, with the last of what was written to it; if `how` is odd, nobody
    /// notices yet.
    pub(super) fn cut(&mut self, connection: usize, lost: usize, how: usize) {
        let connection = connection % CONNECTIONS;
        if self.places[connection].broken.is_some() {
            return;
        }
        self.take_replies();
        let written = self.places[connection].written.len();
        let (arrived, margin) = (written - lost % (written + 1), MARGINS[how / 2 % 4]);
        self.places[connection].broken = Some(Broken { arrived, margin });
        if how.is_multiple_of(2) {
            let late = how as u64 / 8 * 5;
            self.end_session(connection, self.now.saturating_sub(late), true);
        }
    }

    /// That a connection is broken is noticed, if it is.
    pub(super) fn notice(&mut self, connection: usize) {
        let connection = connection % CONNECTIONS;
        if self.places[connection].broken.is_some() {
            self.end_session(connection, self.now, true);
        }
    }

    fn end_session(&mut self, connection: usize, at: u64, resumable: bool) {
        if resumable {
            self.take_replies();
        }
        let unacked_since = self.lose(connection, if resumable { at } else { self.now });
        let (at_instant, unacked_instant) =
            (self.at(at), unacked_since.map(|unacked_since| self.at(unacked_since)));
        for number in self.held(connection) {
            let follower = &mut self.followers[number];
            let certain = unacked_since.is_none_or(|unacked_since| {
                let resumed = follower.resumed.as_ref();
                unacked_since + MAX_UNACKED >= at
                    && resumed.is_none_or(|(resumed, _)| unacked_since > *resumed)
            });
            if resumable && self.session_ttl > 0 {
                let deadline = at + self.session_ttl;
                follower.parked = Some(Parked { deadline, is_sure: certain });
            }
            let grant = resumable.then_some(Grant::OPEN);
            let end = End { grant, unacked_since: unacked_instant, ..End::at(at_instant) };
            let input = Input::Ended { key: follower.key.clone(), end };
            let stream = name(follower.stream);
            self.shard.handle(&stream, input, self.at(self.now));
            self.let_go(number);
            if self.ttl == 0 {
                self.presences.leave(number, LeaveCause::Expired);
            } else {
                self.presences.end(number, at + self.ttl);
            }
            if self.followers[number].parked.is_none() {
                self.presences.pass_on(number, Holder::Orphan);
            }
        }
        self.places[connection].begin();
    }

    /// If a connection is broken, its client knows only what has arrived, and nothing that was
    /// written later than `at`. Since when what it knows of presence is in doubt.
    fn lose(&mut self, connection: usize, at: u64) -> Option<u64> {
        let session = self.session(connection);
        let place = &mut self.places[connection];
        let Broken { arrived, margin } = place.broken?;
        let arrived = arrived.min(place.written.partition_point(|(.., when)| *when <= at));
        place.last = place.last_before.clone();
        for follower in self.followers.iter_mut().filter(|it| it.key.session == session) {
            follower.view = follower.resumed.as_ref().map(|it| it.1.clone()).unwrap_or_default();
        }
        for (number, message, _) in place.written.drain(..arrived).collect::<Vec<_>>() {
            let follower = &mut self.followers[number];
            place.take_in(follower.stream, &message);
            follower.view.take_in(&message);
        }
        let (.., lost) = place.written.iter().find(|(_, message, _)| message.is_event())?;
        for follower in self.followers.iter_mut().filter(|it| it.key.session == session) {
            follower.view.in_doubt = true;
        }
        Some(lost.saturating_sub(margin))
    }

    /// A client without a connection comes back for a session it had.
    pub(super) fn resume(&mut self, connection: usize, which: usize) {
        let connection = connection % CONNECTIONS;
        self.notice(connection);
        if !self.held(connection).is_empty() {
            return;
        }
        let parked =
            |follower: &&Follower| follower.connection == connection && follower.parked.is_some();
        let sessions = self.followers.iter().filter(parked).map(|follower| follower.key.session);
        let sessions: Vec<_> = sessions.collect::<BTreeSet<_>>().into_iter().collect();
        if sessions.is_empty() {
            return;
        }
        let from = sessions[which % sessions.len()];
        self.places[connection].begin();
        for number in 0..self.followers.len() {
            if self.followers[number].key.session == from {
                self.resume_follower(number);
            }
        }
    }

    fn resume_follower(&mut self, from: usize) {
        let earlier = &mut self.followers[from];
        let Some(parked) = earlier.parked.take() else { return };
        let (connection, stream, key) = (earlier.connection, earlier.stream, earlier.key.clone());
        let view = earlier.view.clone();
        self.count();
        let (session, to) = (self.session(connection), self.followers.len());
        let now = self.at(self.now);
        let (parked_key, ticket) = (key.clone(), Ticket(0));
        let input = Input::Resume { from: parked_key, to: session, recipient: to, ticket };
        self.shard.handle(&name(stream), input, now);
        let outcome = self.shard.commit(|_| ()).poll_outcome();
        let Some((_, Outcome::Resumed(resumed))) = outcome else { panic!("{outcome:?}") };
        assert!(!self.count(), "a resume is no event");
        if !resumed {
            let is_sure = parked.is_sure && self.now <= parked.deadline;
            let events = self.joins + self.leaves + self.updates;
            assert!(!is_sure || events > LONGEST_JOURNAL, "it must be possible");
            self.presences.pass_on(from, Holder::Orphan);
            return;
        }
        let key = SubscriberKey { session, ..key };
        let mut follower = Follower::new(connection, stream, key);
        (follower.view, follower.resumed) = (view.clone(), Some((self.now, view)));
        self.followers.push(follower);
        self.presences.pass_on(from, Holder::Subscription(to));
        self.take_replies();
        let there = self.shard.commit(|_| ()).members(&name(stream));
        self.followers[to].view.check(&there);
        // it says something, so that it is no longer kept from what is said
        self.followers[to].answers += 1;
        self.command(to, StreamCommand::List(Listing::Count));
        self.take_replies();
    }

    /// The followings of a connection.
    fn held(&self, connection: usize) -> Vec<usize> {
        let held = self.followers.iter().enumerate();
        let held = held.filter(|(_, it)| it.is_held && it.connection == connection);
        held.map(|(number, _)| number).collect()
    }
}
