//! Servers and nodes, and what befalls them.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher as _};

use foldhash::fast::FixedState;

use super::super::decisions::{begin, next_round};
use super::super::scripts::Settling;
use super::node::{Decision, Node, Phase, byte};
use super::server::{Answer, Has, Log, Server};

/// Nonces of forks are at least this.
pub(super) const FORK: u8 = 128;

/// How much may happen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) nodes: u8,
    /// Batches that are appended.
    pub(super) entries: u8,
    /// Of these, how many are on their way for some time.
    pub(super) delays: u8,
    /// Times that a server loses all without a restart.
    pub(super) flushes: u8,
    /// Times that a replica takes the server's place, which lives on.
    pub(super) failovers: u8,
    /// Times that the server restarts with an older state.
    pub(super) restarts: u8,
    /// Nodes that stand still or are cut off.
    pub(super) pauses: u8,
    pub(super) kills: u8,
    /// Connections that end, of nodes that make another one to the same server.
    pub(super) breaks: u8,
    /// What an inbox takes.
    pub(super) inbox: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) scope: Scope,
    pub(super) current: Server,
    /// The one before, which those that are connected to it still write.
    pub(super) old: Option<Server>,
    /// What becomes the current one when that fails.
    pub(super) saved: Server,
    pub(super) nodes: Vec<Node>,
    /// Batches and forks, by their nonces.
    pub(super) batches: Vec<Batch>,
    pub(super) forks: Vec<Batch>,
    runs: u8,
    pub(super) ballots: u8,
    /// Number of nodes that have begun again, as the others have gone on without them.
    pub(super) lost: u8,
    /// What is wrong.
    pub(super) fault: Option<&'static str>,
}

/// A batch, or a fork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    /// The round in its nonce.
    pub(super) round: u64,
    /// The nonce of the one before, once it is appended.
    pub(super) before: u8,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) what: &'static str,
    pub(super) node: Option<usize>,
    /// Whether it happens by itself, whatever else does.
    pub(super) is_sure: bool,
}

impl World {
    /// An empty log that all nodes follow.
    pub(super) fn new(scope: Scope) -> Self {
        let log = Log { run: 1, round: 1, ..Log::default() };
        let current = Server { run: 1, log: Some(log), bids: None };
        let node = Node { link: 1, round: Some(1), phase: Phase::Follows, ..Node::default() };
        let nodes = vec![node; scope.nodes.into()];
        let saved = current.clone();
        Self {
            scope,
            current,
            old: None,
            saved,
            nodes,
            batches: vec![],
            forks: vec![],
            runs: 1,
            ballots: 0,
            lost: 0,
            fault: None,
        }
    }

    /// Two nodes, behind a failover: one stayed with the old server and was told what the other wasn't, which
    /// has just forked the log.
    pub(super) fn split(scope: Scope) -> Self {
        let mut world = Self::new(scope);
        let first = world.nodes[0].round.unwrap();
        let second = next_round([first; 3], 1);
        let batch = |round| Batch { round: begin(round), before: 0 };
        (world.batches, world.forks) = (vec![batch(first)], vec![batch(second)]);
        let server = |run, round, entry| {
            let log = Log { run, round, entries: vec![entry], base: 0 };
            Server { run, log: Some(log), bids: None }
        };
        (world.current, world.old) = (server(2, second, FORK), Some(server(1, first, 1)));
        (world.runs, world.ballots) = (2, 1);
        let [late, other] = &mut world.nodes[..] else { return world };
        (late.is_late, late.told) = (true, vec![1]);
        (other.link, other.phase) = (2, Phase::Proves);
        world
    }

    /// The same for all worlds that differ only in the nodes' names.
    pub(super) fn canonical(&self) -> u128 {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        if self.nodes.len() > 1 {
            order.sort_by_cached_key(|node| (&self.nodes[*node], self.bids_of(*node)));
        }
        let [a, b] = [17, 18].map(|seed| {
            let mut hasher = FixedState::with_seed(seed).build_hasher();
            for server in self.servers() {
                let bids = server.bids.as_ref().map(|bids| (bids.run, bids.number));
                (server.run, &server.log, bids).hash(&mut hasher);
            }
            for node in &order {
                (&self.nodes[*node], self.bids_of(*node)).hash(&mut hasher);
            }
            (self.scope, self.old.is_some(), &self.batches, &self.forks, self.runs, self.ballots)
                .hash(&mut hasher);
            u128::from(hasher.finish())
        });
        a << 64 | b
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        [&self.current, &self.saved].into_iter().chain(&self.old)
    }

    /// The bids of a node at all servers.
    fn bids_of(&self, node: usize) -> [Option<Has>; 3] {
        let of = |server: &Server| server.bids.as_ref()?.all.get(&byte(node)).copied();
        [of(&self.current), of(&self.saved), self.old.as_ref().and_then(of)]
    }

    /// All that can happen next.
    pub(super) fn next(&self) -> Vec<(Event, Self)> {
        let mut next = Vec::new();
        self.befall(&mut next);
        for node in 0..self.nodes.len() {
            self.go_on(node, &mut next);
        }
        next.retain(|(_, world)| world != self);
        for (_, world) in &mut next {
            world.simplify();
            world.check();
        }
        next
    }

    /// Forgets what can't matter any more.
    fn simplify(&mut self) {
        if self.scope.failovers + self.scope.restarts == 0 {
            self.saved = Server::default();
        }
        if let Some(old) = &self.old
            && !self.nodes.iter().any(|node| {
                !node.is_gone && node.link == old.run
                    || node.sent.is_some_and(|(run, _)| run == old.run)
            })
        {
            self.old = None;
        }
        let runs = [Some(self.current.run), self.old.as_ref().map(|old| old.run)];
        for node in &mut self.nodes {
            node.sent.take_if(|(run, _)| !runs.contains(&Some(*run)));
        }
    }

    /// What can befall servers and nodes.
    fn befall(&self, next: &mut Vec<(Event, Self)>) {
        let mut add = |what, node, change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            next.push((Event { what, node, is_sure: false }, world));
        };
        let scope = self.scope;
        if scope.failovers + scope.restarts > 0 && self.saved != self.current {
            add("saved", None, &|world| world.saved = world.current.clone());
        }
        if scope.failovers > 0 {
            add("failover", None, &|world| {
                world.scope.failovers -= 1;
                world.old = Some(world.begin_run());
            });
        }
        if scope.restarts > 0 {
            add("restart", None, &|world| {
                world.scope.restarts -= 1;
                world.begin_run();
            });
        }
        if scope.flushes > 0 {
            add("flush", None, &|world| {
                world.scope.flushes -= 1;
                (world.current.log, world.current.bids) = (None, None);
            });
            if self.old.is_some() {
                add("flush of the old one", None, &|world| {
                    world.scope.flushes -= 1;
                    let old = world.old.as_mut().unwrap();
                    (old.log, old.bids) = (None, None);
                });
            }
        }
        for (node, it) in self.nodes.iter().enumerate() {
            if scope.kills > 0 && !it.is_gone {
                add("kill", Some(node), &|world| {
                    world.scope.kills -= 1;
                    world.end(node);
                });
            }
            if scope.pauses > 0 && !it.is_untimely() {
                add("pause", Some(node), &|world| {
                    world.scope.pauses -= 1;
                    world.nodes[node].is_late = true;
                });
            }
            if scope.breaks > 0 && !it.is_gone {
                add("break", Some(node), &|world| {
                    world.scope.breaks -= 1;
                    world.connect(node);
                });
            }
            if it.is_untimely() && it.departed.is_none() && self.may_depart(node) {
                add("departure", Some(node), &|world| {
                    world.nodes[node].departed = Some(byte(it.told.len()));
                });
            }
        }
    }

    /// The others declare a node dead when it has been silent for a lease: so they have been told what it was.
    fn may_depart(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        self.nodes
            .iter()
            .filter(|other| !other.is_gone && other.departed.is_none())
            .all(|other| std::ptr::eq(other, it) || other.told.starts_with(&it.told))
    }

    /// The saved state becomes the current one; returns the server that was.
    fn begin_run(&mut self) -> Server {
        self.runs += 1;
        let next = Server { run: self.runs, ..self.saved.clone() };
        std::mem::replace(&mut self.current, next)
    }

    /// A node settles a log, or tries to.
    pub(super) fn settle(
        &mut self,
        node: usize,
        Decision { ballot, round, forks }: Decision,
        act: impl Fn(&mut Server, Settling, Option<u8>) -> Answer,
    ) -> Answer {
        let run = self.nodes[node].link;
        let fork = forks.then(|| FORK + byte(self.forks.len()));
        let Some(server) = self.server_mut(run) else { return Answer::Other };
        let answer = act(server, Settling { ballot: ballot.into(), round }, fork);
        if let Some(fork) = fork
            && server.log.as_ref().is_some_and(|log| log.entries.last() == Some(&fork))
        {
            self.forks.push(Batch { round: begin(round), before: 0 });
            self.note(fork, run);
        }
        answer
    }

    /// A node connects to the server there is.
    pub(super) fn connect(&mut self, node: usize) {
        let run = self.current.run;
        let it = &mut self.nodes[node];
        (it.link, it.phase, it.check, it.has_dropped) = (run, Phase::Proves, None, false);
        it.inbox.clear();
    }

    /// A node ends. What it has told is still owed to those that it has told.
    pub(super) fn end(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let (told, sent, departed) = (std::mem::take(&mut it.told), it.sent, it.departed);
        *it = Node { is_gone: true, told, sent, departed, ..Node::default() };
    }

    /// What must be so in any world.
    fn check(&mut self) {
        let Some(log) = self.current.settled() else { return };
        for node in &self.nodes {
            let owed = node.departed.map_or(&node.told[..], |count| &node.told[..count.into()]);
            let differs = owed.iter().zip(&log.entries).find(|(told, is)| told != is);
            let is_said = match differs {
                Some((_, is)) => *is >= FORK,
                None => owed.len() <= log.entries.len(),
            };
            if !is_said {
                self.fault = Some("what a node was told is taken back without a fork");
                return;
            }
            let is_current = node.link == self.current.run && node.round == Some(log.round);
            if is_current && node.phase == Phase::Follows && !log.entries.starts_with(&node.told) {
                self.fault = Some("a node follows a log that isn't what it was told");
                return;
            }
        }
    }

    /// Whether all that live have been told all that there is, and follow that.
    pub(super) fn is_calm(&self) -> bool {
        let mut living = self.nodes.iter().filter(|node| !node.is_gone);
        let Some(log) = self.current.settled() else { return living.next().is_none() };
        living.all(|node| {
            let is_current = node.link == self.current.run && node.round == Some(log.round);
            is_current && node.phase == Phase::Follows && node.told == log.entries
        })
    }

    pub(super) fn batch(&mut self, nonce: u8) -> &mut Batch {
        match nonce {
            ..FORK => &mut self.batches[usize::from(nonce) - 1],
            FORK.. => &mut self.forks[usize::from(nonce - FORK)],
        }
    }

    pub(super) fn server(&self, run: u8) -> Option<&Server> {
        [Some(&self.current), self.old.as_ref()].into_iter().flatten().find(|it| it.run == run)
    }

    pub(super) fn server_mut(&mut self, run: u8) -> Option<&mut Server> {
        let all = [Some(&mut self.current), self.old.as_mut()];
        all.into_iter().flatten().find(|server| server.run == run)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            Some(node) => write!(f, "{} (node {node})", self.what),
            None => write!(f, "{}", self.what),
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in [&self.current].into_iter().chain(&self.old) {
            let log = server.log.as_ref().map(|log| (log.run, log.round, &log.entries));
            writeln!(f, "    run {} {log:?} {:?}", server.run, server.bids)?;
        }
        for it in &self.nodes {
            let state = if it.is_gone {
                "gone"
            } else if it.is_late {
                "late"
            } else {
                "there"
            };
            let Node { phase, link, round, told, inbox, check, sent, .. } = it;
            writeln!(
                f,
                "    {state} {phase:?} link {link} round {round:?} {told:?} {inbox:?} {check:?} {sent:?}"
            )?;
        }
        Ok(())
    }
}
