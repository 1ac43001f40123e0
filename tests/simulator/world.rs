//! Nodes with clients, and the engine between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::cluster::{Item, Overdue, Partition, Refused};
use broker::log::{Change, Entry, LogId, NodeId, Owner};
use broker::shard::{
    End, HistorySettings, Input, Outcome, ParkedChange, ParkedState, Put, ResumeSettings, Settings,
    SubscriberKey, Ticket,
};
use broker::types::{Grant, MemberList, ServerMessage, SessionId, StreamName};

use crate::asks::Asks;
use crate::engine::{Appended, Engine, Fate};
use crate::replay::{apply, replay};
use crate::requests::Requests;
use crate::shard_settings::without_history;
use crate::starts::{Saved, exclude_departed, save};
use crate::steps::{IDS, Step, What, command, join};
use crate::subscriber::key;

pub(crate) const NODES: usize = 3;
pub(crate) const STREAMS: usize = 2;
pub(crate) const CLIENTS: usize = 6;

pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
pub(crate) const LEASE: Duration = Duration::from_millis(300);
const BEAT: Item = Item::Beat { interval: INTERVAL };

pub(crate) const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: Duration::from_secs(2), max_unacked: Duration::from_secs(10) },
    max_members: 2,
    max_records: 2,
    history: HistorySettings { limit: 3, ttl: Duration::from_secs(5), max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(Duration::from_millis(300))
};

pub(crate) struct Node {
    id: NodeId,
    pub(crate) partition: Partition<usize>,
    /// Number of batches it has read.
    read: usize,
    /// Number of those that its snapshot has.
    restored: usize,
    /// Whether the engine's answer to its last append was lost.
    is_unanswered: bool,
    /// What it was told is parked.
    parked: BTreeSet<(StreamName, SessionId)>,
}

impl Node {
    fn note_parked(&mut self) {
        for ParkedChange { stream, by, state } in self.partition.shard_mut().take_parked() {
            let place = (stream, by.session);
            let is_so = match state {
                ParkedState::Parked(..) => self.parked.insert(place.clone()),
                ParkedState::Resumed => self.parked.contains(&place),
                ParkedState::Over => self.parked.remove(&place),
            };
            assert!(is_so, "{place:?} can't be {state:?}");
        }
    }

    /// What is parked, and can be resumed by any node.
    fn check_parked(&self) {
        let parked = self.partition.shard().resumable();
        let parked: BTreeSet<_> =
            parked.map(|(stream, key, _)| (stream.clone(), key.session)).collect();
        assert_eq!(self.parked, parked);
    }
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) engine: Engine,
    /// What all nodes agree on after each batch, and what became of it, as the first node to get there has it: the
    /// state's digest, and the time of what was forgotten last.
    results: BTreeMap<usize, ([u64; 2], Result<(), Refused>)>,
    clients: Vec<Client>,
    pub(crate) requests: Requests,
    pub(crate) asks: Asks,
    /// How many nodes and clients there have been.
    made: u64,
    /// The latest snapshot.
    saved: Option<Saved>,
    /// The killed nodes of which something may be in the log, and that aren't known to be gone.
    killed: Vec<NodeId>,
    now: Instant,
    seen: Seen,
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

/// A client, by its connection: a new one has a new number.
struct Client {
    session: SessionId,
    number: usize,
    node: usize,
    /// How many streams have yet to say whether it is resumed there.
    resuming: usize,
    /// In each stream, the members as it knows them, once it has asked.
    views: [Option<MemberList>; STREAMS],
    is_subscribed: [bool; STREAMS],
    /// Since a resume it may have heard something twice, so that its list has another order.
    is_unordered: [bool; STREAMS],
    /// How many confirmations it awaits, and how many come before that of its present subscription.
    awaited: [usize; STREAMS],
    outdated: [usize; STREAMS],
}

fn stream(number: usize) -> StreamName {
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
    fn node(&mut self, rank: usize, earlier: Option<usize>) -> Node {
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

    fn client(&mut self, node: usize) -> Client {
        self.made += 1;
        Client {
            session: self.nodes[node].id.session(self.made),
            number: usize::try_from(self.made).unwrap(),
            node,
            resuming: 0,
            views: Default::default(),
            is_subscribed: Default::default(),
            is_unordered: Default::default(),
            awaited: Default::default(),
            outdated: Default::default(),
        }
    }

    fn handle(&mut self, node: usize, of: usize, input: Input<usize>) {
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

    fn command(&mut self, number: usize, of: usize, what: What) {
        let client = &mut self.clients[number];
        if client.resuming > 0 {
            return; // it has no welcome yet
        }
        let is_subscribe = matches!(what, What::Subscribe { .. });
        if !is_subscribe && !client.is_subscribed[of] {
            return; // its session says so
        }
        if is_subscribe {
            client.awaited[of] += 1;
            if !client.is_subscribed[of] {
                client.outdated[of] = client.awaited[of];
            }
        }
        client.is_subscribed[of] = !matches!(what, What::Unsubscribe);
        if let What::Unsubscribe = what {
            client.views[of] = None;
            client.is_unordered[of] = false;
        }
        let key: SubscriberKey = key(client.session.to_bits());
        let (node, recipient) = (client.node, client.number * STREAMS + of);
        let command = command(what, self.engine.unix);
        let input = Input::Command { key, recipient, command, reference: None };
        self.handle(node, of, input);
    }

    fn end_connection(&mut self, number: usize, to: usize, resumes: bool) {
        let Client { session, node, is_subscribed, .. } = self.clients[number];
        for of in 0..STREAMS {
            let end = End { grant: resumes.then_some(Grant::OPEN), ..End::at(self.now) };
            let input = Input::Ended { key: key(session.to_bits()), end };
            self.handle(node, of, input);
        }
        let mut client = self.client(to);
        if resumes {
            if number.is_multiple_of(2) {
                self.append(node, Fate::Stored);
            }
            self.hear();
            client.views = std::mem::take(&mut self.clients[number].views);
            for of in (0..STREAMS).filter(|of| is_subscribed[*of]) {
                let ticket = Ticket(client.number * STREAMS + of);
                let (from, to) = (key(session.to_bits()), client.session);
                let input = Input::Resume { from, to, recipient: ticket.0, ticket };
                self.handle(client.node, of, input);
            }
            client.is_subscribed = is_subscribed;
            client.resuming = is_subscribed.iter().filter(|is_subscribed| **is_subscribed).count();
            client.is_unordered = [true; STREAMS];
        }
        self.clients[number] = client;
    }

    fn append(&mut self, node: usize, fate: Fate) {
        let Node { partition, is_unanswered, .. } = &mut self.nodes[node];
        if let Some(batch) = partition.poll_append() {
            *is_unanswered = !self.engine.append(batch, fate);
        }
    }

    fn retry(&mut self, node: usize) {
        let Node { partition, is_unanswered, .. } = &mut self.nodes[node];
        if std::mem::take(is_unanswered) {
            partition.handle_append_failed();
        }
        self.append(node, Fate::Stored);
    }

    fn read(&mut self, node: usize, batches: usize) {
        for _ in 0..batches {
            let Node { id, partition, read, restored, .. } = &mut self.nodes[node];
            let Some(appended) = self.engine.log.get(*read) else { return };
            let Appended { first, at, batch } = appended.clone();
            let before = (partition.incarnation(), partition.shard().digest());
            let streams = partition.shard().totals().streams;
            let result = match batch {
                Some(batch) => partition.apply(first, at, batch, self.now),
                None if first <= partition.position() => Err(Refused::Again),
                None => {
                    partition.fork((first, at), self.now);
                    Ok(())
                }
            };
            *read += 1;
            if read <= restored {
                let after = (partition.incarnation(), partition.shard().digest());
                assert_eq!((after, result), (before, Err(Refused::Again)));
                continue;
            }
            self.seen.gone += usize::from(partition.incarnation() > before.0);
            let shard = partition.shard();
            self.seen.forgotten += streams.saturating_sub(shard.totals().streams);
            let (at, found) = (*read, ([shard.digest(), shard.forgotten()], result));
            let expected = *self.results.entry(at).or_insert(found);
            assert_eq!(found, expected, "after batch {at}: {appended:#?}");
            exclude_departed(partition, SETTINGS);
            self.asks.follow(*id, partition);
            self.nodes[node].note_parked();
            self.hear();
        }
    }

    /// The latest snapshot is this node's.
    fn save(&mut self, node: usize, slice: usize) {
        let Node { partition, read, restored, .. } = &mut self.nodes[node];
        let of = (*read.max(restored), slice);
        self.saved = Some(save(partition, of, |partition| {
            partition.shard_mut().handle_timeout(self.now);
        }));
    }

    /// The process of a node is another one. Its clients come back to the others, with new sessions.
    fn restart(&mut self, node: usize, earlier: Option<usize>) {
        self.killed.push(self.nodes[node].id);
        self.nodes[node] = self.node(node, earlier);
        for number in 0..CLIENTS {
            if self.clients[number].node == node {
                self.clients[number] = self.client((node + 1 + number % 2) % NODES);
            }
        }
    }

    /// Clients take what is for them.
    fn hear(&mut self) {
        for node in 0..NODES {
            let mut heard = Vec::new();
            let mut output = self.nodes[node].partition.shard_mut().commit(|_| ());
            let mut answered = Vec::new();
            while let Some((ticket, outcome)) = output.poll_outcome() {
                if let Some((recipient, Outcome::Resumed(is_resumed))) =
                    self.requests.hear(ticket, outcome)
                {
                    answered.push((recipient, is_resumed));
                }
            }
            while let Some(delivery) = output.poll_reply() {
                heard.extend(delivery.messages.into_iter().map(|it| (delivery.recipient, it)));
            }
            while let Some(slice) = output.poll_fan_out(100, self.now) {
                for (recipient, has) in slice.recipients {
                    let messages = slice.messages[has..].iter().cloned();
                    heard.extend(messages.map(|message| (recipient, message)));
                }
            }
            for (recipient, is_resumed) in answered {
                let (number, of) = (recipient / STREAMS, recipient % STREAMS);
                let client = self.clients.iter_mut().find(|client| client.number == number);
                let Some(client) = client else { continue };
                client.resuming -= 1;
                self.seen.resumed += usize::from(is_resumed);
                if !is_resumed {
                    (client.is_subscribed[of], client.views[of]) = (false, None);
                    client.is_unordered[of] = false;
                }
            }
            for (recipient, message) in heard {
                self.told(recipient, message);
            }
        }
    }

    fn told(&mut self, recipient: usize, message: ServerMessage) {
        let (number, of) = (recipient / STREAMS, recipient % STREAMS);
        let client = self.clients.iter_mut().find(|client| client.number == number);
        let Some(client) = client else { return };
        if message == ServerMessage::Confirmed {
            client.awaited[of] -= 1;
            client.outdated[of] = client.outdated[of].saturating_sub(1);
        }
        if !client.is_subscribed[of] || client.outdated[of] > 0 {
            return;
        }
        match (message, &mut client.views[of]) {
            (ServerMessage::Presence(change), Some(view)) => replay(view, &change),
            (ServerMessage::Missed { id, change, extra }, Some(view)) => {
                apply(view, &id, (&change, &extra), false);
            }
            (ServerMessage::PresenceList(list), Some(view)) => {
                let list = list.to_vec();
                if std::mem::take(&mut client.is_unordered[of]) {
                    assert_eq!(sorted(view), sorted(&list));
                    *view = list;
                } else {
                    assert_eq!(*view, list);
                }
            }
            (ServerMessage::PresenceList(list), view) => *view = Some(list.to_vec()),
            _ => {}
        }
    }

    /// All that was proposed is read by all, and whoever was killed is found to be gone.
    pub(crate) fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "something never comes, or a dead node stays");
            for node in 0..NODES {
                self.retry(node);
            }
            for node in 0..NODES {
                self.read(node, usize::MAX);
            }
            let length = self.engine.log.len();
            let is_settled = |node: &Node| !node.partition.is_waiting() && node.read == length;
            if !self.nodes.iter().all(is_settled) {
                continue;
            }
            let members: Vec<NodeId> =
                self.nodes[0].partition.nodes().map(|(node, _)| node).collect();
            self.killed.retain(|node| members.contains(node));
            if self.killed.is_empty() {
                break;
            }
            self.engine.unix += millis(INTERVAL);
            for node in 0..NODES {
                self.nodes[node].partition.propose(BEAT);
                self.accuse(node);
            }
        }
    }

    fn accuse(&mut self, node: usize) {
        let partition = &mut self.nodes[node].partition;
        for Overdue { node, beat } in partition.members().overdue(LEASE).collect::<Vec<_>>() {
            partition.propose(Item::Overdue { node, beat, lease: LEASE });
        }
    }

    pub(crate) fn check(&mut self) {
        for number in 0..CLIENTS {
            for of in 0..STREAMS {
                self.command(number, of, What::List);
            }
        }
        self.settle();
        self.hear();
        self.check_owners();
        self.check_requests();
        self.nodes.iter().for_each(Node::check_parked);
        let members: Vec<_> = self.nodes.iter().map(|node| node.partition.members()).collect();
        assert!(members.iter().all(|each| *each == members[0]), "{members:#?}");
        for of in 0..STREAMS {
            let mut members = Vec::new();
            for node in &mut self.nodes {
                let output = node.partition.shard_mut().commit(|_| ());
                members.push(output.members(&stream(of)).to_vec());
            }
            assert!(members.iter().all(|each| *each == members[0]), "{members:#?}");
            for client in self.clients.iter().filter(|client| client.is_subscribed[of]) {
                assert_eq!(client.views[of].as_ref(), Some(&members[0]));
            }
        }
    }

    /// The records of connections that haven't ended, as the first node has them.
    pub(crate) fn records(&mut self) -> BTreeSet<(usize, SessionId)> {
        let output = self.nodes[0].partition.shard_mut().commit(|_| ());
        let (entries, _) = output.snapshot(0, usize::MAX);
        let records = entries.into_iter().filter_map(|Entry { stream: name, change, .. }| {
            let Change::Record { owner: Owner::Subscription { by, ended: None }, .. } = change
            else {
                return None;
            };
            Some(((0..STREAMS).find(|of| stream(*of) == name)?, by.session))
        });
        records.collect()
    }

    /// No record stays of a connection that has ended.
    fn check_owners(&mut self) {
        for (of, session) in self.records() {
            let owner = self.clients.iter().find(|client| client.session == session);
            assert!(owner.is_some_and(|client| client.is_subscribed[of]), "{session:?} in {of}");
        }
    }

    /// The application was told the truth about what it published, and each node about what it asked.
    fn check_requests(&self) {
        let admitted = self.results.iter().filter(|(_, (_, result))| result.is_ok());
        let batches: Vec<_> =
            admitted.filter_map(|(at, _)| self.engine.log[at - 1].batch.as_ref()).collect();
        let items = batches.iter().flat_map(|batch| &batch.items);
        self.requests.check(items.filter_map(|item| match item {
            Item::Change(proposal) => Some(&proposal.change),
            Item::Beat { .. }
            | Item::Overdue { .. }
            | Item::Gone { .. }
            | Item::Ask { .. }
            | Item::Answer { .. } => None,
        }));
        let living: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        self.asks.check(&living, batches.into_iter());
    }

    /// Nobody stays once everybody has gone.
    pub(crate) fn end(&mut self) {
        for client in 0..CLIENTS {
            self.step(&Step::End { client, to: 0, resumes: false });
        }
        for stream in 0..STREAMS {
            self.step(&Step::Leave { stream });
        }
        self.settle();
        self.step(&Step::Pass(5000));
        self.settle();
        for node in &self.nodes {
            let totals = node.partition.shard().totals();
            assert_eq!((totals.records, totals.subscriptions), (0, 0));
        }
        self.pass_long(Duration::from_secs(30));
        for node in &self.nodes {
            assert_eq!(node.partition.shard().totals().streams, 0, "{:#?}", node.partition);
        }
    }

    /// Time passes, and nothing happens that doesn't follow from it.
    pub(crate) fn pass_long(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(&Step::Pass(1000));
            self.settle();
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap()
}

fn sorted(list: &MemberList) -> MemberList {
    let mut list = list.clone();
    list.sort_by(|a, b| a.id.cmp(&b.id));
    list
}
