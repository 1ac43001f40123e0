//! The number of a client's records, in streams of any shard: never above the limit, without removed ones. A
//! join is refused for it only at the limit.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::LogId;
use broker::protocol::{action_cable, chat};
use broker::shard::{Destination, End, Input, Put, ResumeSettings, Settings, Shard, SubscriberKey};
use broker::types::{
    Codec, Grant, GroupKey, Identifier, Join, PresenceId, ServerMessage, SessionId, StreamCommand,
    StreamName,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::door::Door as _;
use crate::subscriber::subscribe;

const SHARDS: usize = 2;
const STREAMS: usize = 4;
const NAMES: usize = 2;
const IDS: [&str; 3] = ["ann", "bob", "cem"];
const TTL: u64 = 10;
const SESSIONS_TTL: u64 = 25;
const MAX_MEMBERS: usize = 2;
const MAX_RECORDS: usize = 3;

/// What the clients speak. A chat client leaves an orphan, which the next of its id takes up.
const CODECS: [Codec; 3] = [action_cable::CODEC, action_cable::CODEC, chat::CODEC];

/// Which client, in which stream, by which of its subscriptions.
type Key = (usize, usize, usize);

#[derive(Clone, Debug)]
enum Step {
    Subscribe(Key, Option<usize>),
    Join(Key, usize),
    Update(Key, usize),
    Leave(Key, Option<usize>),
    Unsubscribe(Key),
    Put(usize, usize),
    Kick(usize, usize),
    /// A client's connection ends.
    End(usize),
    /// It comes back: for its session, or for none.
    Return(usize, bool),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || (0..CODECS.len(), 0..STREAMS, 0..NAMES);
    let id = 0..IDS.len();
    let step = prop_oneof![
        6 => (key(), prop::option::of(id.clone())).prop_map(|(key, id)| Step::Subscribe(key, id)),
        10 => (key(), id.clone()).prop_map(|(key, id)| Step::Join(key, id)),
        2 => (key(), id.clone()).prop_map(|(key, id)| Step::Update(key, id)),
        3 => (key(), prop::option::of(id.clone())).prop_map(|(key, id)| Step::Leave(key, id)),
        2 => key().prop_map(Step::Unsubscribe),
        1 => (0..STREAMS, id.clone()).prop_map(|(stream, id)| Step::Put(stream, id)),
        2 => (0..STREAMS, id).prop_map(|(stream, id)| Step::Kick(stream, id)),
        2 => (0..CODECS.len()).prop_map(Step::End),
        4 => (0..CODECS.len(), prop::bool::weighted(0.8))
            .prop_map(|(client, resumes)| Step::Return(client, resumes)),
        2 => select(vec![1, TTL - 1, TTL, SESSIONS_TTL]).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_records_that_count_are_those_there_are(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check();
        }
    }
}

/// A connection, which counts its client's records.
#[derive(Clone, Debug, Default)]
struct Connection(Rc<Cell<usize>>);

impl Destination for Connection {
    fn add_record(&self, max: usize) -> Result<(), usize> {
        let records = self.0.get();
        if records >= max {
            return Err(records);
        }
        self.0.set(records + 1);
        Ok(())
    }

    fn remove_record(&self) {
        self.0.set(self.0.get().checked_sub(1).expect("it has none"));
    }

    fn reserve(&self, _: usize) -> bool {
        true
    }

    fn answered(&self) {}
}

#[derive(Clone, Copy, PartialEq)]
enum Holder {
    Subscription(Key),
    /// Of a client that has no connection, and may come back for it.
    Parked(Key),
    Orphan,
    Application,
}

struct Record {
    stream: usize,
    id: usize,
    holder: Holder,
    deadline: Option<u64>,
}

#[derive(Default)]
struct Client {
    connection: Option<Connection>,
    /// The session it has or had.
    session: usize,
    subscriptions: Vec<Key>,
    parked: Vec<Key>,
    ended: u64,
}

struct World {
    shards: [Shard<Connection>; SHARDS],
    start: Instant,
    now: u64,
    sessions: usize,
    clients: [Client; CODECS.len()],
    /// In the order of their last change.
    records: Vec<Record>,
}

fn name(stream: usize) -> StreamName {
    format!("stream-{stream}").into()
}

fn join(id: usize) -> Join {
    Join { id: PresenceId::from(IDS[id]), info: "1".into(), extra: None }
}

impl World {
    fn new() -> Self {
        let start = Clock::new().now();
        let settings = Settings {
            resume: ResumeSettings {
                ttl: Duration::from_secs(SESSIONS_TTL),
                max_unacked: Duration::from_secs(1),
            },
            max_members: MAX_MEMBERS,
            max_records: MAX_RECORDS,
            ..crate::shard_settings::without_history(Duration::from_secs(TTL))
        };
        let mut world = Self {
            shards: [0, 1].map(|log| Shard::new(Settings { log: LogId(log), ..settings }, start)),
            start,
            now: 0,
            sessions: 0,
            clients: Default::default(),
            records: Vec::new(),
        };
        for client in 0..CODECS.len() {
            world.come(client, false);
        }
        world
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs(self.now)
    }

    fn key((client, _, number): Key, session: usize) -> SubscriberKey {
        let identifier = Identifier::from(format!("\"{number}\""));
        let group = GroupKey::new(CODECS[client], identifier);
        SubscriberKey { session: SessionId::from_bits(session as u128), group }
    }

    fn step(&mut self, step: &Step) {
        let follows = |world: &Self, key: &Key| world.clients[key.0].subscriptions.contains(key);
        match *step {
            Step::Subscribe(key, id) if self.clients[key.0].connection.is_some() => {
                if !follows(self, &key) {
                    self.clients[key.0].subscriptions.push(key);
                }
                let command = subscribe(id.map(join));
                let expected = id.and_then(|id| self.join(key, id));
                self.command(key, command, expected.as_deref());
            }
            Step::Join(key, id) if follows(self, &key) => {
                let expected = self.join(key, id);
                self.command(key, StreamCommand::Join(join(id)), expected.as_deref());
            }
            Step::Update(key, id) if follows(self, &key) => {
                let expected = if self.record_of(key).is_some() {
                    self.join(key, id)
                } else {
                    Some("has not joined".to_owned())
                };
                self.command(key, StreamCommand::Update(join(id)), expected.as_deref());
            }
            Step::Leave(key, id) if follows(self, &key) => {
                let expected = match self.record_of(key) {
                    None => Some("has not joined"),
                    Some(at) if id.is_some_and(|id| id != self.records[at].id) => {
                        Some("another id")
                    }
                    Some(at) => {
                        self.records.remove(at);
                        None
                    }
                };
                let id = id.map(|id| PresenceId::from(IDS[id]));
                self.command(key, StreamCommand::Leave(id), expected);
            }
            Step::Unsubscribe(key) if follows(self, &key) => {
                self.clients[key.0].subscriptions.retain(|held| *held != key);
                self.records.retain(|record| record.holder != Holder::Subscription(key));
                self.command(key, StreamCommand::Unsubscribe, None);
            }
            Step::Put(stream, id) => {
                let put = Put { join: join(id), ttl: None };
                let now = self.instant();
                let shard = &mut self.shards[stream % SHARDS];
                let placed = shard.put(&name(stream), put, now);
                let placed = shard.open(placed);
                assert_eq!(placed.is_ok(), self.has_room(stream, id));
                let is_its = |record: &Record| {
                    (record.stream, record.id, record.holder) == (stream, id, Holder::Application)
                };
                if placed.is_ok() && !self.records.iter().any(is_its) {
                    let holder = Holder::Application;
                    self.records.push(Record { stream, id, holder, deadline: None });
                }
            }
            Step::Kick(stream, id) => {
                let now = self.instant();
                let shard = &mut self.shards[stream % SHARDS];
                let gone = shard.kick(&name(stream), &IDS[id].into(), now);
                shard.open(gone);
                self.records.retain(|record| (record.stream, record.id) != (stream, id));
            }
            Step::End(client) if self.clients[client].connection.is_some() => self.end(client),
            Step::Return(client, resumes) if self.clients[client].connection.is_none() => {
                self.come(client, resumes);
            }
            Step::Pass(seconds) => self.pass(seconds),
            _ => {}
        }
    }

    /// What joining does, or why it is refused.
    fn join(&mut self, key: Key, id: usize) -> Option<String> {
        if let Some(at) = self.record_of(key) {
            return (self.records[at].id != id).then(|| "another id".to_owned());
        }
        let stream = key.1;
        if !self.has_room(stream, id) {
            return Some("is full".to_owned());
        }
        let has = self.count(key.0);
        if has >= MAX_RECORDS {
            return Some(format!("has joined {has} times, at most {MAX_RECORDS} are allowed"));
        }
        let is_orphan = |record: &Record| {
            (record.stream, record.id, record.holder) == (stream, id, Holder::Orphan)
        };
        if let Some(at) = self.records.iter().rposition(is_orphan) {
            self.records.remove(at);
        }
        let holder = Holder::Subscription(key);
        self.records.push(Record { stream, id, holder, deadline: None });
        None
    }

    fn has_room(&self, stream: usize, id: usize) -> bool {
        let mut ids: Vec<_> =
            self.records.iter().filter(|it| it.stream == stream).map(|it| it.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.contains(&id) || ids.len() < MAX_MEMBERS
    }

    fn record_of(&self, key: Key) -> Option<usize> {
        self.records.iter().position(|record| record.holder == Holder::Subscription(key))
    }

    /// How many records a client has.
    fn count(&self, client: usize) -> usize {
        let is_its = |record: &&Record| matches!(record.holder, Holder::Subscription((owner, ..)) if owner == client);
        self.records.iter().filter(is_its).count()
    }

    fn command(&mut self, key: Key, command: StreamCommand, refused: Option<&str>) {
        let Client { connection, session, .. } = &self.clients[key.0];
        let recipient = connection.clone().unwrap();
        let key_there = Self::key(key, *session);
        let input = Input::Command { key: key_there, recipient, command, reference: None };
        let now = self.instant();
        let shard = &mut self.shards[key.1 % SHARDS];
        shard.handle(&name(key.1), input, now);
        let mut reasons = Vec::new();
        while let Some(delivery) = shard.commit(|_| ()).poll_reply() {
            reasons.extend(delivery.messages.into_iter().filter_map(|message| match message {
                ServerMessage::Refused(reason) => Some(reason.into_owned()),
                _ => None,
            }));
        }
        match (refused, reasons.as_slice()) {
            (Some(refused), [reason]) => assert!(reason.contains(refused), "{reason}: {refused}"),
            (None, []) => {}
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, client: usize) {
        let now = self.instant();
        let Client { connection, session, subscriptions, parked, ended } =
            &mut self.clients[client];
        *connection = None;
        *ended = self.now;
        let resumable = CODECS[client].resumes();
        for key in std::mem::take(subscriptions) {
            let grant = resumable.then_some(Grant::OPEN);
            let end = End { grant, ..End::at(now) };
            let input = Input::Ended { key: Self::key(key, *session), end };
            self.shards[key.1 % SHARDS].handle(&name(key.1), input, now);
            for record in &mut self.records {
                if record.holder == Holder::Subscription(key) {
                    record.holder = if resumable { Holder::Parked(key) } else { Holder::Orphan };
                    record.deadline = Some(self.now + TTL);
                }
            }
            if resumable {
                parked.push(key);
            }
        }
    }

    fn come(&mut self, client: usize, resumes: bool) {
        self.sessions += 1;
        let now = self.instant();
        let connection = Connection::default();
        let from = std::mem::replace(&mut self.clients[client].session, self.sessions);
        let parked = std::mem::take(&mut self.clients[client].parked);
        let in_time = self.now < self.clients[client].ended + SESSIONS_TTL;
        for key in parked {
            let is_back = resumes && {
                let to = (SessionId::from_bits(self.sessions as u128), connection.clone());
                let shard = &mut self.shards[key.1 % SHARDS];
                let is_moved = shard.resume(&name(key.1), &Self::key(key, from), to, now);
                let is_moved = shard.open(is_moved);
                while shard.commit(|_| ()).poll_reply().is_some() {}
                assert_eq!(is_moved, in_time);
                is_moved
            };
            if is_back {
                self.clients[client].subscriptions.push(key);
            }
            for record in &mut self.records {
                if is_back && record.holder == Holder::Parked(key) {
                    (record.holder, record.deadline) = (Holder::Subscription(key), None);
                } else if record.holder == Holder::Parked(key) {
                    record.holder = Holder::Parked((usize::MAX, 0, 0)); // nobody comes back for it
                }
            }
        }
        self.clients[client].connection = Some(connection);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let now = self.instant();
        for shard in &mut self.shards {
            while shard.poll_timeout().is_some_and(|due| due <= now) {
                shard.handle_timeout(now);
            }
            while shard.commit(|_| ()).poll_fan_out(100, now).is_some() {}
        }
        self.records.retain(|record| record.deadline.is_none_or(|deadline| deadline > self.now));
    }

    fn check(&mut self) {
        for (client, it) in self.clients.iter().enumerate() {
            if let Some(Connection(counted)) = &it.connection {
                assert_eq!(counted.get(), self.count(client), "what client {client} has");
                assert!(counted.get() <= MAX_RECORDS);
            }
        }
        let records: usize = self.shards.iter().map(|shard| shard.totals().records).sum();
        assert_eq!(records, self.records.len());
    }
}
