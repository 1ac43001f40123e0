//! Nodes with clients, and the engine between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::cluster::{Item, KnownRules, Partition, Rules};
use broker::log::{Change, LogId, NodeId};
use broker::shard::{HistorySettings, Input, Put, ResumeSettings, Settings, SubscriberKey, Ticket};
use broker::types::{SessionId, StreamName};

use crate::asks::Asks;
use crate::clients::Client;
use crate::engine::Engine;
use crate::node::Node;
use crate::order::Order;
use crate::requests::Requests;
use crate::shard_settings::without_history;
use crate::starts::{Saved, exclude_departed};
use crate::steps::{IDS, Step, What, join};

pub(crate) const NODES: usize = 3;
pub(crate) const STREAMS: usize = 2;
pub(crate) const CLIENTS: usize = 6;
/// Clients behind those, in some worlds, which watch the numbers of members.
pub(crate) const COUNTERS: usize = 2;
/// Nodes in the largest world.
pub(crate) const MAX_NODES: usize = 5;

/// Time without news from the log that still counts.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
pub(crate) const LEASE: Duration = Duration::from_millis(300);

pub(crate) const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: Duration::from_secs(2), max_unacked: Duration::from_secs(10) },
    max_members: 2,
    max_records: 2,
    history: HistorySettings { limit: 3, ttl: Duration::from_secs(5), max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(Duration::from_millis(300))
};

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) engine: Engine,
    pub(crate) order: Order,
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: Requests,
    pub(crate) asks: Asks,
    /// How many nodes and clients there have been.
    pub(crate) made: u64,
    /// The latest snapshot.
    pub(crate) saved: Option<Saved>,
    /// The killed nodes of which something may be in the log, and that aren't known to be gone.
    pub(crate) killed: Vec<NodeId>,
    /// All that were ever killed: the engine may lose that they are gone.
    pub(crate) dead: Vec<NodeId>,
    /// The clock on the wall.
    pub(crate) now: Instant,
    /// The sessions whose connections have ended, and when.
    pub(crate) over: BTreeMap<SessionId, Instant>,
    /// Which session a client, by its number, has tried to resume.
    pub(crate) resumes: BTreeMap<usize, SessionId>,
    /// Where sessions were resumed, and how many batches had been read then.
    pub(crate) resumed: BTreeMap<(SessionId, usize), usize>,
    /// Who tries to resume what isn't theirs, by number.
    pub(crate) rivals: BTreeMap<usize, (usize, SubscriberKey)>,
    /// What nodes know that start.
    pub(crate) known: KnownRules,
    pub(crate) seen: Seen,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// How many subscriptions were resumed.
    pub(crate) resumed: usize,
    /// How many batches all nodes skip.
    pub(crate) refused: usize,
    /// How often a node found that the others believe it dead.
    pub(crate) gone: usize,
    /// How many batches nodes that started were spared.
    pub(crate) spared: usize,
    /// How often a node forgot a stream.
    pub(crate) forgotten: usize,
    /// How many subscriptions were resumed by somebody else.
    pub(crate) rivals: usize,
    /// How often a client was told what it missed of a history.
    pub(crate) histories: usize,
    /// How often the engine lost something, and how often a history began again then.
    pub(crate) losses: usize,
    pub(crate) forks: usize,
    /// How many nodes had something that was lost.
    pub(crate) lost: usize,
    /// How many rounds it took at most until all had read all.
    pub(crate) rounds: usize,
    /// How often a node compared the digest of another one with its own.
    pub(crate) compared: usize,
}

pub(crate) fn stream(number: usize) -> StreamName {
    format!("stream-{number}").into()
}

impl World {
    /// Three nodes, and clients that watch members.
    pub(crate) fn new() -> Self {
        Self::of(NODES, CLIENTS)
    }

    /// The same with other numbers of nodes and clients.
    pub(crate) fn of(nodes: usize, clients: usize) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            engine: Engine::new(),
            order: Order::default(),
            clients: Vec::new(),
            requests: Requests::default(),
            asks: Asks::default(),
            made: 0,
            saved: None,
            killed: Vec::new(),
            dead: Vec::new(),
            now: Clock::new().now(),
            over: BTreeMap::new(),
            resumes: BTreeMap::new(),
            resumed: BTreeMap::new(),
            rivals: BTreeMap::new(),
            // one version's: tests/simulator/versions.rs is about others
            known: KnownRules { oldest: Rules(1), newest: Rules(1) },
            seen: Seen::default(),
        };
        for number in 0..nodes {
            let node = world.node(number, None);
            world.nodes.push(node);
        }
        for number in 0..clients {
            let client = world.client(number, number % nodes);
            world.clients.push(client);
            for of in 0..STREAMS {
                world.command(number, of, What::Subscribe { join: number.is_multiple_of(2) });
                if number < CLIENTS {
                    world.command(number, of, What::List);
                }
            }
        }
        world
    }

    /// A node that starts.
    pub(crate) fn node(&mut self, rank: usize, earlier: Option<usize>) -> Node {
        self.made += 1;
        let id = NodeId(self.made);
        let mut partition = Partition::new(SETTINGS, id, self.known, self.now);
        partition.shard_mut().set_unix(self.engine.unix);
        partition.shard_mut().set_rank(rank.try_into().unwrap());
        let mut output = partition.shard_mut().commit(|_| ());
        output.observe((0..STREAMS).map(stream));
        let mut node = Node::new(id, partition, self.now);
        if let (Some(saved), Some(earlier)) = (&self.saved, earlier) {
            saved.restore(&mut node.partition, self.engine.unix, self.now);
            exclude_departed(&mut node.partition, SETTINGS);
            (node.read, node.restored) = (saved.batches.saturating_sub(earlier), saved.batches);
        }
        self.seen.spared += node.restored;
        node.partition.begin_beating(LEASE, self.now);
        node.partition.handle_timeout(self.now);
        node.note_parked();
        node
    }

    pub(crate) fn handle(&mut self, node: usize, of: usize, input: Input<usize>) {
        let node = &mut self.nodes[node];
        let now = node.now(self.now);
        match &mut node.paused {
            Some((_, waiting)) => waiting.push((of, input)),
            None => node.partition.shard_mut().handle(&stream(of), input, now),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        let refused = self.order.after.iter().filter(|after| after.result.is_err()).count();
        Seen { refused, ..self.seen }
    }

    /// How many changes of a kind are in the log, void or not.
    pub(crate) fn count(&self, is_it: impl Fn(&Change) -> bool) -> usize {
        let batches = self.engine.log.iter().filter_map(|appended| appended.batch.as_ref());
        let items = batches.flat_map(|batch| &batch.items);
        let is_it = |item: &&Item| matches!(item, Item::Change(it) if is_it(&it.change));
        items.filter(is_it).count()
    }

    pub(crate) fn step(&mut self, step: &Step) {
        let nodes = self.nodes.len();
        let place = |node: usize| node % nodes;
        match *step {
            Step::Command { client, stream, what } if client < self.clients.len() => {
                self.command(client, stream, what);
            }
            Step::Publish { node, stream } => self.publish(place(node), stream),
            Step::Put { node, stream: number, id, has_ttl } => {
                let put =
                    Put { join: join(id, 0), ttl: has_ttl.then_some(Duration::from_millis(200)) };
                let input = Input::Put { put, ticket: Ticket(0) };
                self.handle(place(node), number, input);
            }
            Step::Kick { node, stream: number, id } => {
                let input = Input::Kick { id: IDS[id].into(), ticket: Ticket(0) };
                self.handle(place(node), number, input);
            }
            Step::End { client, to, resumes, rival } if client < self.clients.len() => {
                self.end_connection(client, place(to), resumes, rival.map(place));
            }
            Step::Command { .. } | Step::End { .. } => {}
            Step::Append { node, fate } => self.append(place(node), fate),
            Step::Retry { node } => self.retry(place(node)),
            Step::Read { node, batches } => self.read(place(node), batches),
            Step::Snapshot { node, slice } => self.save(place(node), slice),
            Step::Kill { node, earlier } => self.restart(place(node), earlier),
            Step::Beat { node } => self.beat(place(node)),
            Step::Ask { node } => self.ask(place(node)),
            Step::Accuse { node } => self.accuse(place(node)),
            Step::Fork => self.engine.fork(self.now),
            Step::Arrive(number) => self.engine.arrive(number, self.now),
            Step::Cut { node } => self.nodes[place(node)].is_cut = true,
            Step::Stall => self.nodes.iter_mut().for_each(|node| node.is_cut = true),
            Step::Pause { node } => self.pause(place(node)),
            Step::Heal { node } => self.heal(place(node)),
            Step::Lose { batches, restarts, is_away } => {
                if is_away && let Some(first) = self.nodes.iter_mut().max_by_key(|node| node.read) {
                    first.is_cut = true;
                }
                self.lose(batches, restarts);
            }
            Step::Jump(milliseconds) => self.engine.jump(milliseconds),
            Step::Settle => self.settle(),
            Step::Leave { stream } => self.leave(stream),
            Step::Rest(seconds) => self.pass_long(Duration::from_secs(seconds)),
            Step::Pass(milliseconds) => self.pass(milliseconds),
        }
        self.hear();
    }

    fn publish(&mut self, node: usize, of: usize) {
        if self.nodes[node].paused.is_none() {
            let (publish, ticket) = self.requests.publish(self.engine.unix);
            self.handle(node, of, Input::Publish(publish));
            self.nodes[node].partition.shard_mut().sync(ticket);
        }
    }

    fn leave(&mut self, of: usize) {
        for client in 0..self.clients.len() {
            self.command(client, of, What::Unsubscribe);
        }
        for id in 0..IDS.len() {
            self.step(&Step::Kick { node: 0, stream: of, id });
        }
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        let passed = Duration::from_millis(milliseconds);
        self.now += passed;
        self.engine.unix += milliseconds;
        for node in &mut self.nodes {
            node.pass(passed, self.now);
            if node.paused.is_none() {
                let now = node.now(self.now);
                node.partition.shard_mut().set_unix(self.engine.unix);
                node.partition.shard_mut().handle_timeout(now);
            }
        }
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap()
}
