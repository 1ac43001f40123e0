//! What a node does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::decisions::{Next, Proof, goes_on, next_round, nonce, prove, settling, take};
use super::super::meta::Meta;
use super::node::{Check, Decision, News, Phase, byte};
use super::server::{Answer, Has, Log, Server};
use super::world::{Batch, Event, World};
use crate::engine::bids::{Bid, Bids};
use crate::log::NodeId;

const LEASE: Duration = Duration::from_secs(10);

impl World {
    /// All that a node can do.
    pub(super) fn go_on(&self, node: usize, next: &mut Vec<(Event, Self)>) {
        let it = &self.nodes[node];
        let mut add = |what, is_sure, change: &mut dyn FnMut(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            next.push((Event { what, node: Some(node), is_sure }, world));
        };
        if let Some((run, nonce)) = it.sent {
            add("arrival", true, &mut |world| {
                world.nodes[node].sent = None;
                world.append(run, nonce);
            });
        }
        if it.is_gone {
            return;
        }
        if it.link != self.current.run {
            add("connection", true, &mut |world| world.connect(node));
        }
        if it.phase == Phase::Follows && !it.inbox.is_empty() {
            add("message", true, &mut |world| world.take(node));
        }
        let Some(server) = self.server(it.link) else { return };
        let (run, has) = (it.link, it.has());
        self.check_log(node, server, next);
        let mut add = |what, is_sure, change: &mut dyn FnMut(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            next.push((Event { what, node: Some(node), is_sure }, world));
        };
        match it.phase {
            Phase::Proves => add("proof", true, &mut |world| world.prove(node, server)),
            Phase::Reads => add("read", true, &mut |world| world.read(node, server)),
            Phase::Follows => {
                if it.inbox.is_empty() && it.has_dropped {
                    add("gap", true, &mut |world| {
                        let it = &mut world.nodes[node];
                        (it.has_dropped, it.phase) = (false, Phase::Reads);
                    });
                }
                if self.scope.entries > 0 {
                    add("append", false, &mut |world| {
                        world.scope.entries -= 1;
                        let nonce = world.nonce(node);
                        if !world.append(run, nonce) {
                            world.nodes[node].phase = Phase::Proves;
                        }
                    });
                }
                if self.scope.entries > 0 && self.scope.delays > 0 && it.sent.is_none() {
                    add("departure of a batch", false, &mut |world| {
                        world.scope.entries -= 1;
                        world.scope.delays -= 1;
                        world.nodes[node].sent = Some((run, world.nonce(node)));
                    });
                }
            }
            Phase::Bids(rounds) => {
                let mut bid = self.clone();
                let (number, server) = (self.ballots + 1, bid.server_mut(run).unwrap());
                let Answer::Bids(given) = server.bid(run, (byte(node), has), number) else {
                    add("bid: settled", true, &mut |world| world.nodes[node].phase = Phase::Proves);
                    return;
                };
                bid.ballots = bid.ballots.max(given.number);
                let ballot = given.number;
                let (patience, is_over, all) = self.decide(node, &given.all);
                let round = next_round([rounds, all.round(), it.round.unwrap_or(0)], ballot.into());
                if !patience.0.is_zero() {
                    add("bid", true, &mut |world| *world = bid.clone());
                }
                if is_over {
                    add("bid: its turn", true, &mut |world| {
                        *world = bid.clone();
                        let decision = Decision { ballot, round, forks: patience.1 };
                        world.nodes[node].phase = Phase::Settles(decision);
                    });
                }
            }
            Phase::Settles(decision) => add("confirmation", true, &mut |world| {
                let answer = world.settle(node, decision, |server, settling, fork| {
                    server.confirm(run, has, settling, fork)
                });
                world.nodes[node].phase = match answer {
                    Answer::Incomplete => Phase::PutsBack(decision),
                    Answer::Ok | Answer::Other | Answer::Settled | Answer::Bids(_) => Phase::Proves,
                };
            }),
            Phase::PutsBack(decision) => add("restoration", true, &mut |world| {
                world.settle(node, decision, |server, settling, fork| {
                    server.restore(run, (&it.told, 0), settling, fork)
                });
                world.nodes[node].phase = Phase::Proves;
            }),
        }
    }

    /// A node asks what the log is, and learns that behind what was published before.
    fn check_log(&self, node: usize, server: &Server, next: &mut Vec<(Event, Self)>) {
        let (it, mut world) = (&self.nodes[node], self.clone());
        let log = server.log.as_ref();
        let (round, head) = log.map_or((0, 0), |log| (log.round, byte(log.entries.len())));
        let (is_settled, before) = (server.settled().is_some(), it.has().cursor);
        let what = if let Some(check) = it.check {
            world.nodes[node].check = None;
            world.put(node, News::Checked(check));
            "pong"
        } else if it.inbox.iter().any(|news| matches!(news, News::Checked(_)))
            // one that finds nothing is nothing, whenever it arrives
            || is_settled && it.round == Some(round) && head == before
        {
            return;
        } else {
            world.nodes[node].check = Some(Check { is_settled, round, head, before });
            "check"
        };
        next.push((Event { what, node: Some(node), is_sure: true }, world));
    }

    /// A nonce for a node's batch.
    fn nonce(&mut self, node: usize) -> u8 {
        let round = nonce(self.nodes[node].round.unwrap_or(0), 0);
        self.batches.push(Batch { round, before: 0 });
        byte(self.batches.len())
    }

    /// Notes behind which entry the last one of a log is, if it has this nonce.
    pub(super) fn note(&mut self, nonce: u8, run: u8) {
        let log = self.server(run).and_then(|server| server.log.as_ref());
        let Some((last, before)) = log.and_then(|log| log.entries.split_last()) else { return };
        if *last == nonce {
            self.batch(nonce).before = before.last().copied().unwrap_or(0);
        }
    }

    /// How long a node waits, whether it forks the log then, and whether that time may be over: it is waited for those
    /// that are untimely alone. Names are as they suit it best: of those that have as much, any may be the first.
    fn decide(&self, node: usize, given: &BTreeMap<u8, Has>) -> ((Duration, bool), bool, Bids) {
        let name = |of: usize| NodeId(if of == node { 1 } else { 2 + of as u64 });
        let all = || 0..self.nodes.len();
        let is_timely = |of: &usize| *of == node || !self.nodes[*of].is_untimely();
        let is_member = |of: &usize| *of == node || self.nodes[*of].departed.is_none();
        let bids = |of: &dyn Fn(&usize) -> bool| {
            let mut bids = Bids::default();
            for (of, has) in given.iter().filter(|(node, _)| of(&usize::from(**node))) {
                bids.insert(name((*of).into()), bid(*has));
            }
            bids
        };
        let members = all().filter(is_member).map(name).collect();
        let all_bids = bids(&|_| true);
        let patience = settling(&all_bids, NodeId(1), &members, LEASE);
        let timely = all().filter(is_member).filter(is_timely).map(name).collect();
        let (rest, _) = settling(&bids(&is_timely), NodeId(1), &timely, LEASE);
        (patience, rest.is_zero(), all_bids)
    }

    fn prove(&mut self, node: usize, server: &Server) {
        let it = &mut self.nodes[node];
        let Some(log) = server.settled() else {
            it.phase = Phase::Bids(server.log.as_ref().map_or(0, |log| log.round));
            return;
        };
        let Has { cursor, nonce, .. } = it.has();
        let found = log.at(cursor.into()).map(u64::from);
        let nonce = Some(u64::from(nonce)).filter(|_| cursor > 0);
        match prove(&meta(Some(log)), found, (cursor.into(), nonce), it.round) {
            Proof::Whole => {
                if !log.entries.starts_with(&it.told) {
                    self.fault = Some("a log is taken for whole that isn't");
                    return;
                }
                (it.round, it.phase) = (Some(log.round), Phase::Reads);
            }
            Proof::Lost(_) => self.lose(node, server),
            Proof::Doubtful => self.server_mut(server.run).unwrap().doubt(log.round),
        }
    }

    fn lose(&mut self, node: usize, server: &Server) {
        if !self.nodes[node].is_late {
            self.fault = Some("a node is lost that was there in time");
        } else if server
            .settled()
            .is_some_and(|log| log.entries.starts_with(&self.nodes[node].told))
        {
            self.fault = Some("a node is lost that had nothing alone");
        }
        self.lost += 1;
        self.end(node);
    }

    fn read(&mut self, node: usize, server: &Server) {
        let it = &mut self.nodes[node];
        let log = server.log.as_ref();
        if !goes_on(server.settled().is_some(), &meta(log), it.round) {
            it.phase = Phase::Proves;
            return;
        }
        match log.and_then(|log| log.at(it.told.len() + 1)) {
            Some(nonce) => self.tell(node, nonce),
            None => it.phase = Phase::Follows,
        }
    }

    /// A node takes what is in its inbox.
    fn take(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let (told, round) = (it.told.len() as u64, it.round);
        match it.inbox.pop_front().unwrap() {
            News::Published { round: of, cursor, nonce } => {
                match take(of, cursor.into(), (told, round)) {
                    Next::Deliver => self.tell(node, nonce),
                    Next::Read => it.phase = Phase::Reads,
                    Next::Nothing => {}
                }
            }
            News::Checked(Check { is_settled, round: of, head, before }) => {
                let meta = Meta { head: head.into(), round: of, ..Meta::default() };
                if head < before || !goes_on(is_settled, &meta, round) {
                    it.phase = Phase::Proves;
                } else if meta.head > told {
                    it.phase = Phase::Reads;
                }
            }
        }
    }

    fn tell(&mut self, node: usize, nonce: u8) {
        let Batch { before, round } = *self.batch(nonce);
        let it = &mut self.nodes[node];
        if before != it.told.last().copied().unwrap_or(0) {
            self.fault = Some("a batch is told behind another one than elsewhere");
        }
        it.told.push(nonce);
        it.latest = it.latest.max(round);
    }

    /// Returns whether it is appended.
    fn append(&mut self, run: u8, nonce: u8) -> bool {
        let Some(server) = self.server_mut(run) else { return false };
        if server.append(run, nonce) != Answer::Ok {
            return false;
        }
        let (cursor, round) =
            server.log.as_ref().map(|log| (byte(log.entries.len()), log.round)).unwrap();
        self.note(nonce, run);
        for node in 0..self.nodes.len() {
            if !self.nodes[node].is_gone && self.nodes[node].link == run {
                self.put(node, News::Published { round, cursor, nonce });
            }
        }
        true
    }

    /// Puts something into a node's inbox, if there is room.
    fn put(&mut self, node: usize, news: News) {
        let it = &mut self.nodes[node];
        if it.inbox.len() < usize::from(self.scope.inbox) {
            it.inbox.push_back(news);
        } else {
            it.has_dropped = true;
        }
    }
}

/// A bid as the product has it.
pub(super) fn bid(Has { round, cursor, nonce }: Has) -> Bid {
    Bid { round, cursor: cursor.into(), nonce: nonce.into() }
}

/// What the product reads of a log.
fn meta(log: Option<&Log>) -> Meta {
    let (head, round) = log.map_or((0, 0), |log| (log.entries.len() as u64, log.round));
    Meta { head, round, ..Meta::default() }
}
