//! Nodes that share a log, which orders what they propose and delivers it to each at its own pace. Whatever the
//! pace, all hold the same streams, and each client sees one story: its list and the events after it give
//! the list it asks for next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{Entry, LogId, NodeId, Position};
use broker::shard::{
    End, HistorySettings, Input, Outcome, Publish, Put, ResumeSettings, Settings, Shard,
    SubscriberKey, Ticket,
};
use broker::types::{
    Join, Listing, MemberList, ServerMessage, SessionId, StreamCommand, StreamName, Whisper,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::replay::{apply, replay};
use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

const NODES: usize = 3;
const STREAMS: usize = 2;
const CLIENTS: usize = 6;
const IDS: [&str; 3] = ["ann", "bob", "cem"];

const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: Duration::from_secs(60), max_unacked: Duration::from_secs(10) },
    max_members: 2,
    max_records: 2,
    history: HistorySettings { limit: 3, ttl: Duration::from_secs(3600), max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(Duration::from_millis(300))
};

#[derive(Clone, Debug)]
enum Step {
    Command {
        client: usize,
        stream: usize,
        what: What,
    },
    Publish {
        node: usize,
        stream: usize,
    },
    Put {
        node: usize,
        stream: usize,
        id: usize,
        has_ttl: bool,
    },
    Kick {
        node: usize,
        stream: usize,
        id: usize,
    },
    /// The connection ends; the client comes back to any node. It resumes its session, or begins anew.
    End {
        client: usize,
        to: usize,
        resumes: bool,
    },
    /// What a node has proposed gets its place in the log.
    Append {
        node: usize,
    },
    /// A node reads on in the log.
    Read {
        node: usize,
        entries: usize,
    },
    Pass(u64),
    /// All nodes read all that was proposed.
    Settle,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Subscribe { join: bool },
    Unsubscribe,
    Join { id: usize, info: usize },
    Update { id: usize, info: usize },
    Leave,
    List,
    Whisper { members_only: bool },
    Publish { members_only: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, stream) = (|| 0..NODES, || 0..STREAMS);
    let (id, info) = (|| 0..IDS.len(), || 0..2_usize);
    let what = prop_oneof![
        4 => any::<bool>().prop_map(|join| What::Subscribe { join }),
        1 => Just(What::Unsubscribe),
        4 => (id(), info()).prop_map(|(id, info)| What::Join { id, info }),
        1 => (id(), info()).prop_map(|(id, info)| What::Update { id, info }),
        2 => Just(What::Leave),
        2 => Just(What::List),
        1 => any::<bool>().prop_map(|members_only| What::Whisper { members_only }),
        1 => any::<bool>().prop_map(|members_only| What::Publish { members_only }),
    ];
    let step = prop_oneof![
        12 => (0..CLIENTS, stream(), what)
            .prop_map(|(client, stream, what)| Step::Command { client, stream, what }),
        1 => (node(), stream()).prop_map(|(node, stream)| Step::Publish { node, stream }),
        1 => (node(), stream(), id(), any::<bool>())
            .prop_map(|(node, stream, id, has_ttl)| Step::Put { node, stream, id, has_ttl }),
        1 => (node(), stream(), id()).prop_map(|(node, stream, id)| Step::Kick { node, stream, id }),
        3 => (0..CLIENTS, node(), any::<bool>())
            .prop_map(|(client, to, resumes)| Step::End { client, to, resumes }),
        8 => node().prop_map(|node| Step::Append { node }),
        10 => (node(), 1..6_usize).prop_map(|(node, entries)| Step::Read { node, entries }),
        2 => prop::sample::select(vec![50, 400]).prop_map(Step::Pass),
        2 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 0..250)
}

struct Node {
    shard: Shard<usize>,
    /// Number of entries it has applied.
    read: usize,
}

struct World {
    nodes: Vec<Node>,
    log: Vec<Entry>,
    /// The state's digest after each entry, as the first node to get there has it.
    digests: BTreeMap<usize, u64>,
    clients: Vec<Client>,
    made: u128,
    now: Instant,
    unix: u64,
    /// How many subscriptions were resumed.
    resumed: usize,
}

/// A client, by its connection: a new one has a new number.
struct Client {
    session: u128,
    node: usize,
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
    fn new() -> Self {
        let now = Clock::new().now();
        let node = |number: usize| {
            let mut shard = Shard::sharing(SETTINGS, NodeId(number as u64 + 1), now);
            shard.set_unix(1_000_000);
            Node { shard, read: 0 }
        };
        let mut world = Self {
            nodes: (0..NODES).map(node).collect(),
            log: Vec::new(),
            digests: BTreeMap::new(),
            clients: Vec::new(),
            made: 0,
            now,
            unix: 1_000_000,
            resumed: 0,
        };
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

    fn client(&mut self, node: usize) -> Client {
        self.made += 1;
        Client {
            session: self.made,
            node,
            views: Default::default(),
            is_subscribed: Default::default(),
            is_unordered: Default::default(),
            awaited: Default::default(),
            outdated: Default::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Command { client, stream, what } => self.command(client, stream, what),
            Step::Publish { node, stream: number } => {
                let data = "3".into();
                let (labels, at, except, is_transient) = (None, 7, None, false);
                let input = Input::Publish(Publish { data, labels, at, except, is_transient });
                self.nodes[node].shard.handle(&stream(number), input, self.now);
            }
            Step::Put { node, stream: number, id, has_ttl } => {
                let put =
                    Put { join: join(id, 0), ttl: has_ttl.then_some(Duration::from_millis(200)) };
                let input = Input::Put { put, ticket: Ticket(0) };
                self.nodes[node].shard.handle(&stream(number), input, self.now);
            }
            Step::Kick { node, stream: number, id } => {
                let input = Input::Kick { id: IDS[id].into(), ticket: Ticket(0) };
                self.nodes[node].shard.handle(&stream(number), input, self.now);
            }
            Step::End { client, to, resumes } => self.end_connection(client, to, resumes),
            Step::Append { node } => self.append(node),
            Step::Read { node, entries } => self.read(node, entries),
            Step::Settle => self.settle(),
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.unix += milliseconds;
                for node in &mut self.nodes {
                    node.shard.set_unix(self.unix);
                    node.shard.handle_timeout(self.now);
                }
            }
        }
        self.hear();
    }

    fn command(&mut self, number: usize, of: usize, what: What) {
        let client = &mut self.clients[number];
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
        let key: SubscriberKey = key(client.session);
        let recipient = usize::try_from(client.session).unwrap() * STREAMS + of;
        let command = command(what);
        let input = Input::Command { key, recipient, command, reference: None };
        self.nodes[client.node].shard.handle(&stream(of), input, self.now);
    }

    fn end_connection(&mut self, number: usize, to: usize, resumes: bool) {
        let Client { session, node, is_subscribed, .. } = self.clients[number];
        for of in 0..STREAMS {
            let end = End { resumable: resumes, ..End::at(self.now) };
            let input = Input::Ended { key: key(session), end };
            self.nodes[node].shard.handle(&stream(of), input, self.now);
        }
        let mut client = self.client(to);
        if resumes {
            if number.is_multiple_of(2) {
                self.append(node);
            }
            self.hear();
            client.views = std::mem::take(&mut self.clients[number].views);
            for of in (0..STREAMS).filter(|of| is_subscribed[*of]) {
                let ticket = Ticket(usize::try_from(client.session).unwrap() * STREAMS + of);
                let (from, to) = (key(session), SessionId::from_bits(client.session));
                let input = Input::Resume { from, to, recipient: ticket.0, ticket };
                self.nodes[client.node].shard.handle(&stream(of), input, self.now);
            }
            client.is_subscribed = is_subscribed;
            client.is_unordered = [true; STREAMS];
        }
        self.clients[number] = client;
    }

    fn append(&mut self, node: usize) {
        for proposal in self.nodes[node].shard.take_proposals() {
            self.log.push(Entry {
                position: Position(self.log.len() as u64 + 1),
                at: self.unix,
                origin: proposal.origin,
                stream: proposal.stream,
                change: proposal.change,
            });
        }
    }

    fn read(&mut self, node: usize, entries: usize) {
        for _ in 0..entries {
            let Node { shard, read } = &mut self.nodes[node];
            let Some(entry) = self.log.get(*read) else { return };
            shard.apply(entry.clone(), self.now).ok();
            *read += 1;
            // those of one input are applied together
            let is_whole = self.log.get(*read).is_none_or(|next| next.origin != entry.origin);
            if is_whole {
                let (at, digest) = (*read, shard.digest());
                let first = *self.digests.entry(at).or_insert(digest);
                assert_eq!(digest, first, "after entry {at}: {entry:?}");
            }
            self.hear();
        }
    }

    /// Clients take what is for them.
    fn hear(&mut self) {
        for node in 0..NODES {
            let mut heard = Vec::new();
            let mut output = self.nodes[node].shard.commit(|_| ());
            let mut refused = Vec::new();
            while let Some((Ticket(recipient), outcome)) = output.poll_outcome() {
                match outcome {
                    Outcome::Resumed(true) => self.resumed += 1,
                    Outcome::Resumed(false) => refused.push(recipient),
                    Outcome::Put(_) | Outcome::Kicked(_) | Outcome::Present(_) => {}
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
            for recipient in refused {
                let (session, of) = ((recipient / STREAMS) as u128, recipient % STREAMS);
                let client = self.clients.iter_mut().find(|client| client.session == session);
                if let Some(client) = client {
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
        let (session, of) = ((recipient / STREAMS) as u128, recipient % STREAMS);
        let client = self.clients.iter_mut().find(|client| client.session == session);
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

    /// All that was proposed is read by all.
    fn settle(&mut self) {
        loop {
            for node in 0..NODES {
                self.append(node);
            }
            for node in 0..NODES {
                self.read(node, usize::MAX);
            }
            let is_settled = |node: &mut Node| {
                let is_waiting = node.shard.waiting() > 0;
                !is_waiting && node.read == self.log.len()
            };
            if self.nodes.iter_mut().all(is_settled) {
                break;
            }
        }
    }

    fn check(&mut self) {
        for number in 0..CLIENTS {
            for of in 0..STREAMS {
                self.command(number, of, What::List);
            }
        }
        self.settle();
        self.hear();
        for of in 0..STREAMS {
            let mut members = Vec::new();
            for node in &mut self.nodes {
                let output = node.shard.commit(|_| ());
                members.push(output.members(&stream(of)).to_vec());
            }
            assert!(members.iter().all(|each| *each == members[0]), "{members:#?}");
            for client in self.clients.iter().filter(|client| client.is_subscribed[of]) {
                assert_eq!(client.views[of].as_ref(), Some(&members[0]));
            }
        }
    }

    /// Nobody stays once everybody has gone.
    fn end(&mut self) {
        for client in 0..CLIENTS {
            self.step(&Step::End { client, to: 0, resumes: false });
        }
        for of in 0..STREAMS {
            for id in 0..IDS.len() {
                self.step(&Step::Kick { node: 0, stream: of, id });
            }
        }
        self.settle();
        self.step(&Step::Pass(1000));
        self.settle();
        for node in &self.nodes {
            assert_eq!(node.shard.totals().records, 0);
            assert_eq!(node.shard.totals().subscriptions, 0);
        }
    }
}

fn sorted(list: &MemberList) -> MemberList {
    let mut list = list.clone();
    list.sort_by(|a, b| a.id.cmp(&b.id));
    list
}

fn join(id: usize, info: usize) -> Join {
    Join { id: IDS[id].into(), info: info.to_string().into(), extra: None }
}

fn command(what: What) -> StreamCommand {
    match what {
        What::Subscribe { join: joins } => subscribe(joins.then(|| join(0, 0))),
        What::Unsubscribe => StreamCommand::Unsubscribe,
        What::Join { id, info } => StreamCommand::Join(join(id, info)),
        What::Update { id, info } => StreamCommand::Update(join(id, info)),
        What::Leave => StreamCommand::Leave(None),
        What::List => StreamCommand::List(Listing::Members),
        What::Whisper { members_only } => {
            let whisper = Whisper { event: None, data: "1".into() };
            StreamCommand::Whisper { whisper, members_only }
        }
        What::Publish { members_only } => {
            StreamCommand::Publish { data: "2".into(), at: 7, members_only }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nodes_that_share_a_log_agree(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
        world.check();
        world.end();
    }
}

/// Else the property above would say little.
#[test]
fn much_happens_while_nodes_share_a_log() {
    let mut runner = TestRunner::deterministic();
    let (mut entries, mut resumed, mut waited) = (0, 0, 0);
    for _ in 0..30 {
        let mut world = World::new();
        for step in &steps().new_tree(&mut runner).unwrap().current() {
            world.step(step);
            waited += world.nodes.iter().map(|node| node.shard.waiting()).max().unwrap();
        }
        entries += world.log.len();
        world.settle();
        resumed += world.resumed;
    }
    assert!(entries > 500 && resumed > 20 && waited > 1000, "{entries} {resumed} {waited}");
}

/// Some nodes, each with one client, and the messages that come of a few commands.
struct Few {
    nodes: Vec<Shard<usize>>,
    log: Vec<Entry>,
    now: Instant,
}

impl Few {
    fn new() -> Self {
        let now = Clock::new().now();
        let node = |number| Shard::sharing(SETTINGS, NodeId(number), now);
        Self { nodes: (1..=3).map(node).collect(), log: Vec::new(), now }
    }

    fn command(&mut self, node: usize, command: StreamCommand) {
        let (key, recipient) = (key(node as u128), node);
        let input = Input::Command { key, recipient, command, reference: None };
        self.nodes[node].handle(&stream(0), input, self.now);
    }

    fn append(&mut self, node: usize) {
        let proposals = self.nodes[node].take_proposals().into_iter();
        let next = self.log.len() as u64 + 1;
        self.log.extend((next..).zip(proposals).map(|(position, proposal)| Entry {
            position: Position(position),
            at: 0,
            origin: proposal.origin,
            stream: proposal.stream,
            change: proposal.change,
        }));
    }

    fn read(&mut self, node: usize) -> Vec<ServerMessage> {
        for entry in &self.log {
            self.nodes[node].apply(entry.clone(), self.now).ok();
        }
        let mut output = self.nodes[node].commit(|_| ());
        let mut told = Vec::new();
        while let Some(reply) = output.poll_reply() {
            told.extend(reply.messages);
        }
        told
    }
}

#[test]
fn a_client_that_joins_and_asks_at_once_finds_itself() {
    let mut few = Few::new();
    few.command(0, subscribe(None));
    few.command(0, StreamCommand::Join(join(0, 0)));
    few.command(0, StreamCommand::List(Listing::Members));
    few.command(1, subscribe(Some(join(1, 0))));
    few.append(1);
    few.append(0);
    let told = few.read(0);
    let Some(ServerMessage::PresenceList(list)) = told.last() else { panic!("{told:?}") };
    let ids: Vec<&str> = list.iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids, ["bob", "ann"], "in the log's order");
}

#[test]
fn nothing_is_seen_of_a_change_before_it_is_in_the_log() {
    let mut few = Few::new();
    few.command(0, subscribe(None));
    assert_eq!(few.read(0), [ServerMessage::Confirmed], "that changes nothing");
    few.command(0, StreamCommand::Join(join(0, 0)));
    few.command(0, StreamCommand::List(Listing::Count));
    assert_eq!(few.read(0), []);
    few.append(0);
    assert_eq!(few.read(0).last(), Some(&ServerMessage::PresenceCount(1)));
}

#[test]
fn who_comes_too_late_for_the_last_place_hears_why() {
    let mut few = Few::new();
    for node in 0..3 {
        few.command(node, subscribe(Some(join(node, 0))));
    }
    for node in [2, 0, 1] {
        few.append(node);
    }
    let refused = |told: &[ServerMessage]| {
        told.iter().any(|message| {
            matches!(message, ServerMessage::Refused(reason) if reason.contains("at most 2 members"))
        })
    };
    let told = [0, 1, 2].map(|node| refused(&few.read(node)));
    assert_eq!(told, [false, true, false]);
}
