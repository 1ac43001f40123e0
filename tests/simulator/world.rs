//! Nodes with clients, and the engine between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::cluster::{Item, Partition, Refused};
use broker::log::{Change, LogId, NodeId};
use broker::shard::{HistorySettings, Input, Put, ResumeSettings, Settings, Ticket};
use broker::types::StreamName;

use crate::asks::Asks;
use crate::clients::Client;
use crate::engine::Engine;
use crate::node::Node;
use crate::requests::Requests;
use crate::shard_settings::without_history;
use crate::starts::{Saved, exclude_departed};
use crate::steps::{IDS, Step, What, join};

pub(crate) const NODES: usize = 3;
pub(crate) const STREAMS: usize = 2;
pub(crate) const CLIENTS: usize = 6;

pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
pub(crate) const LEASE: Duration = Duration::from_millis(300);
pub(crate) const BEAT: Item = Item::Beat { interval: INTERVAL };

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
    /// What all nodes agree on after each batch, and what became of it, as the first node to get there has it: the
    /// state's digest, and the time of what was forgotten last.
    pub(crate) results: BTreeMap<usize, ([u64; 2], Result<(), Refused>)>,
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: Requests,
    pub(crate) asks: Asks,
    /// How many nodes and clients there have been.
    pub(crate) made: u64,
    /// The latest snapshot.
    pub(crate) saved: Option<Saved>,
    /// The killed nodes of which something may be in the log, and that aren't known to be gone.
    pub(crate) killed: Vec<NodeId>,
    pub(crate) now: Instant,
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
}

pub(crate) fn stream(number: usize) -> StreamName {
    format!("stream-{number}").into()
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            engine: Engine::new(),
            results: BTreeMap::new(),
            clients: Vec::new(),
            requests: Requests::default(),
            asks: Asks::default(),
            made: 0,
            saved: None,
            killed: Vec::new(),
            now: Clock::new().now(),
            seen: Seen::default(),
        };
        for number in 0..NODES {
            let node = world.node(number, None);
            world.nodes.push(node);
        }
        for number in 0..CLIENTS {
            let client = world.client(number % NODES);
            world.clients.push(client);
            for of in 0..STREAMS {
                world.command(number, of, What::Subscribe { join: number.is_multiple_of(2) });
                world.command(number, of, What::List);
            }
        }
        world
    }

    /// A node that starts.
    pub(crate) fn node(&mut self, rank: usize, earlier: Option<usize>) -> Node {
        self.made += 1;
        let id = NodeId(self.made);
        let mut partition = Partition::new(SETTINGS, id, self.now);
        partition.shard_mut().set_unix(self.engine.unix);
        partition.shard_mut().set_rank(rank.try_into().unwrap());
        let (mut read, mut restored) = (0, 0);
        if let (Some(saved), Some(earlier)) = (&self.saved, earlier) {
            saved.restore(&mut partition, self.engine.unix, self.now);
            exclude_departed(&mut partition, SETTINGS);
            (read, restored) = (saved.batches.saturating_sub(earlier), saved.batches);
        }
        self.seen.spared += restored;
        partition.begin_beating(LEASE, self.now);
        partition.handle_timeout(self.now);
        let parked = BTreeSet::new();
        let mut node = Node { id, partition, read, restored, is_unanswered: false, parked };
        node.note_parked();
        node
    }

    pub(crate) fn handle(&mut self, node: usize, of: usize, input: Input<usize>) {
        self.nodes[node].partition.shard_mut().handle(&stream(of), input, self.now);
    }

    pub(crate) fn seen(&self) -> Seen {
        let refused = self.results.values().filter(|(_, result)| result.is_err()).count();
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
        match *step {
            Step::Command { client, stream, what } => self.command(client, stream, what),
            Step::Publish { node, stream: number } => {
                let (publish, ticket) = self.requests.publish(self.engine.unix);
                self.handle(node, number, Input::Publish(publish));
                self.nodes[node].partition.shard_mut().sync(ticket);
            }
            Step::Put { node, stream: number, id, has_ttl } => {
                let put =
                    Put { join: join(id, 0), ttl: has_ttl.then_some(Duration::from_millis(200)) };
                let input = Input::Put { put, ticket: Ticket(0) };
                self.handle(node, number, input);
            }
            Step::Kick { node, stream: number, id } => {
                let input = Input::Kick { id: IDS[id].into(), ticket: Ticket(0) };
                self.handle(node, number, input);
            }
            Step::End { client, to, resumes } => self.end_connection(client, to, resumes),
            Step::Append { node, fate } => self.append(node, fate),
            Step::Retry { node } => self.retry(node),
            Step::Read { node, batches } => self.read(node, batches),
            Step::Snapshot { node, slice } => self.save(node, slice),
            Step::Kill { node, earlier } => self.restart(node, earlier),
            Step::Beat { node } => self.nodes[node].partition.propose(BEAT),
            Step::Ask { node } => {
                let Node { id, partition, .. } = &mut self.nodes[node];
                self.asks.ask(*id, partition);
            }
            Step::Accuse { node } => self.accuse(node),
            Step::Fork => self.engine.fork(),
            Step::Settle => self.settle(),
            Step::Leave { stream } => {
                for client in 0..CLIENTS {
                    self.command(client, stream, What::Unsubscribe);
                }
                for id in 0..IDS.len() {
                    self.step(&Step::Kick { node: 0, stream, id });
                }
            }
            Step::Rest(seconds) => self.pass_long(Duration::from_secs(seconds)),
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.engine.unix += milliseconds;
                for Node { partition, .. } in &mut self.nodes {
                    partition.shard_mut().set_unix(self.engine.unix);
                    partition.shard_mut().handle_timeout(self.now);
                }
            }
        }
        self.hear();
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap()
}
