//! History requests: a client gets all missed publications, once and in order with the live ones, or a
//! refusal. It is refused only if some of them are no longer kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::protocol::action_cable;
use broker::shard::{
    Delivery, End, FanOut, GroupKey, HistorySettings, Input, Publish, Settings, Shard,
    SubscriberKey, Totals,
};
use broker::types::{
    Grant, HistoryRequest, RawJson, ServerMessage, SessionId, StreamCommand, StreamName,
    StreamPosition, Subscribe, SubscribeOptions,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::shard_settings::without_history;
use crate::subscriber::key;

const STREAMS: usize = 2;
const CLIENTS: usize = 3;
const PRESENCE_TTL: Duration = Duration::from_secs(15);
/// Milliseconds of the Unix epoch at the start.
const BEGIN: u64 = 1_000_000;

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    /// A client that doesn't follow a stream does from now on; one that does asks again.
    Follow {
        client: usize,
        stream: usize,
        ask: Ask,
    },
    /// A client's connection ends.
    End(usize),
    Pass(u64),
    Expire,
    Reply,
    FanOut(usize),
}

/// What a client asks for that it missed.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Nothing,
    /// What came after the last publication it has, if it has one.
    AfterLast,
    /// What came since so many seconds ago.
    Since(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = prop_oneof![
        1 => Just(Ask::Nothing),
        4 => Just(Ask::AfterLast),
        2 => (0..6_u64).prop_map(Ask::Since),
    ];
    let step = prop_oneof![
        8 => (0..STREAMS).prop_map(Step::Publish),
        5 => (0..CLIENTS, 0..STREAMS, ask)
            .prop_map(|(client, stream, ask)| Step::Follow { client, stream, ask }),
        2 => (0..CLIENTS).prop_map(Step::End),
        2 => select(vec![0, 300, 1000, 2500, 10_000]).prop_map(Step::Pass),
        2 => Just(Step::Expire),
        2 => Just(Step::Reply),
        3 => (1..4_usize).prop_map(Step::FanOut),
        1 => Just(Step::FanOut(usize::MAX)),
    ];
    prop::collection::vec(step, 1..200)
}

/// Everything ever published to a stream, and what of it is kept.
#[derive(Clone, Default)]
struct Stream {
    exists: bool,
    /// The number of its lifetime.
    lifetime: usize,
    published: Vec<Published>,
    /// When the newest was made that is not kept.
    lost: u64,
}

#[derive(Clone)]
struct Published {
    lifetime: usize,
    offset: u64,
    data: String,
    at: u64,
    expires: u64,
    is_kept: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Confirmed,
    Publication { lifetime: usize, offset: u64, data: String },
    HistoryConfirmed,
    HistoryRejected,
}

/// One following of a stream by a client; its number is the recipient's.
struct Following {
    client: usize,
    stream: usize,
    key: SubscriberKey,
    is_held: bool,
    /// What it must be told, and how much of that has come.
    told: Vec<Told>,
    received: usize,
}

struct World {
    shard: Shard<u32>,
    start: Instant,
    now: u64,
    settings: HistorySettings,
    /// What a publication weighs, and what a stream that keeps any.
    weights: (usize, usize),
    streams: [Stream; STREAMS],
    forgotten: u64,
    followings: Vec<Following>,
    /// What each client last received of each stream.
    last: HashMap<(usize, usize), (usize, StreamPosition)>,
    /// The epochs seen, by stream and lifetime.
    epochs: HashMap<(usize, usize), String>,
    generations: [usize; CLIENTS],
    numbers: usize,
}

fn name(stream: usize) -> StreamName {
    format!("stream-{stream}").into()
}

fn with_history(history: HistorySettings) -> Settings {
    Settings { history, ..without_history(PRESENCE_TTL) }
}

impl World {
    fn new(settings: HistorySettings) -> Self {
        let settings = with_history(settings);
        let start = Clock::new().now();
        Self {
            shard: Shard::new(settings, start),
            start,
            now: 0,
            settings: settings.history,
            weights: weights(),
            streams: Default::default(),
            forgotten: 0,
            followings: Vec::new(),
            last: HashMap::new(),
            epochs: HashMap::new(),
            generations: [0; CLIENTS],
            numbers: 0,
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Publish(stream) => self.publish(stream),
            Step::Follow { client, stream, ask } => self.follow(client, stream, ask),
            Step::End(client) => self.end(client),
            Step::Pass(milliseconds) => self.now += milliseconds,
            Step::Expire => self.expire(),
            Step::Reply => self.take_replies(),
            Step::FanOut(slices) => self.fan_out(slices),
        }
        self.forget();
        let totals = self.shard.totals();
        assert_eq!(totals.publications, self.kept().0);
        assert_eq!(totals.history_bytes, self.bytes());
        assert!(totals.history_bytes <= self.settings.max_bytes);
        assert_eq!(totals.streams, self.streams.iter().filter(|stream| stream.exists).count());
    }

    fn create(&mut self, stream: usize) {
        let forgotten = self.forgotten;
        let stream = &mut self.streams[stream];
        if !stream.exists {
            stream.exists = true;
            stream.lifetime += 1;
            stream.lost = forgotten;
        }
    }

    fn publish(&mut self, index: usize) {
        self.now += 1; // so that one is always the older
        self.numbers += 1;
        let (data, at) = (format!("{:08}", self.numbers), BEGIN + self.now);
        let quoted = format!("\"{data}\"");
        let input = Input::Publish(Publish {
            data: quoted.as_str().into(),
            labels: None,
            at,
            except: None,
            is_transient: false,
        });
        self.shard.handle(&name(index), input, self.instant());

        self.create(index);
        let ttl = u64::try_from(self.settings.ttl.as_millis()).unwrap();
        let stream = &mut self.streams[index];
        let lifetime = stream.lifetime;
        let offset = 1 + stream.published.iter().filter(|p| p.lifetime == lifetime).count() as u64;
        let expires = self.now + ttl;
        let published = Published { lifetime, offset, data: quoted, at, expires, is_kept: true };
        let told = Told::Publication { lifetime, offset, data: published.data.clone() };
        stream.published.push(published);
        for following in &mut self.followings {
            if following.is_held && following.stream == index {
                following.told.push(told.clone());
            }
        }
        if self.streams[index].published.iter().filter(|p| p.is_kept).count() > self.settings.limit
        {
            self.drop_oldest(Some(index));
        }
        while self.bytes() > self.settings.max_bytes {
            self.drop_oldest(None);
        }
    }

    /// How many publications are kept, and by how many streams.
    fn kept(&self) -> (usize, usize) {
        let kept = |stream: &Stream| stream.published.iter().filter(|p| p.is_kept).count();
        let streams = self.streams.iter().filter(|stream| kept(stream) > 0).count();
        (self.streams.iter().map(kept).sum(), streams)
    }

    fn bytes(&self) -> usize {
        self.kept().0 * self.weights.0 + self.kept().1 * self.weights.1
    }

    /// Of one stream, or of all.
    fn drop_oldest(&mut self, of: Option<usize>) {
        let streams = self.streams.iter_mut().enumerate();
        let streams = streams.filter(|(index, _)| of.is_none_or(|of| of == *index));
        let kept = streams.filter_map(|(_, stream)| {
            let Stream { published, lost, .. } = stream;
            Some((published.iter_mut().find(|p| p.is_kept)?, lost))
        });
        let (oldest, lost) = kept.min_by_key(|(published, _)| published.at).expect("one is kept");
        oldest.is_kept = false;
        *lost = (*lost).max(oldest.at);
    }

    fn follow(&mut self, client: usize, stream: usize, ask: Ask) {
        let request = match ask {
            Ask::Nothing => None,
            Ask::AfterLast => {
                self.last.get(&(client, stream)).map(|(_, position)| HistoryRequest {
                    since: None,
                    positions: vec![(name(stream), position.clone())],
                    joint: None,
                })
            }
            Ask::Since(seconds) => Some(HistoryRequest {
                since: Some(((BEGIN + self.now) / 1000).saturating_sub(seconds)),
                positions: vec![],
                joint: None,
            }),
        };
        self.create(stream);
        let held = self.followings.iter().position(|following| {
            following.is_held && following.client == client && following.stream == stream
        });
        let number = held.unwrap_or_else(|| {
            let bits = self.generations[client] * CLIENTS + client;
            let session = SessionId::from_bits(bits as u128);
            let group = GroupKey::new(action_cable::CODEC, "\"i\"".into());
            self.followings.push(Following {
                client,
                stream,
                key: SubscriberKey { session, group },
                is_held: true,
                told: vec![Told::Confirmed],
                received: 0,
            });
            self.followings.len() - 1
        });
        let key = self.followings[number].key.clone();
        let command = match (held, &request) {
            (None, _) => StreamCommand::from(Subscribe {
                join: None,
                history: request.clone(),
                grant: Grant::OPEN,
                options: SubscribeOptions::default(),
            }),
            (Some(_), Some(request)) => StreamCommand::History(request.clone()),
            (Some(_), None) => return,
        };
        let recipient = u32::try_from(number).unwrap();
        let input = Input::Command { key, recipient, command, reference: None };
        self.shard.handle(&name(stream), input, self.instant());
        if let Some(request) = request {
            let told = self.answer(number, &request);
            self.followings[number].told.extend(told);
        }
    }

    /// What a client must be told that asks for what it missed.
    fn answer(&self, number: usize, request: &HistoryRequest) -> Vec<Told> {
        let Following { client, stream, .. } = self.followings[number];
        let Stream { published, lifetime, lost, .. } = &self.streams[stream];
        let current = published.iter().filter(|p| p.lifetime == *lifetime);
        let missed: Vec<&Published> = if let Some(since) = request.since {
            if *lost > 0 && lost / 1000 >= since {
                return vec![Told::HistoryRejected];
            }
            current.filter(|p| p.at / 1000 >= since).collect()
        } else {
            let (known, position) = &self.last[&(client, stream)];
            if known != lifetime {
                return vec![Told::HistoryRejected];
            }
            current.filter(|p| p.offset > position.offset.0).collect()
        };
        if missed.iter().any(|published| !published.is_kept) {
            return vec![Told::HistoryRejected];
        }
        let told = missed.into_iter().map(|Published { lifetime, offset, data, .. }| {
            Told::Publication { lifetime: *lifetime, offset: *offset, data: data.clone() }
        });
        told.chain([Told::HistoryConfirmed]).collect()
    }

    fn end(&mut self, client: usize) {
        let (at, now) = (self.instant(), self.instant());
        for following in &mut self.followings {
            if following.is_held && following.client == client {
                following.is_held = false;
                let input = Input::Ended { key: following.key.clone(), end: End::at(at) };
                self.shard.handle(&name(following.stream), input, now);
            }
        }
        self.generations[client] += 1;
    }

    fn expire(&mut self) {
        self.shard.handle_timeout(self.instant());
        assert!(self.shard.poll_timeout().is_none_or(|due| due > self.instant()), "it stays due");
        for stream in &mut self.streams {
            for published in stream.published.iter_mut().filter(|p| p.is_kept) {
                if published.expires <= self.now {
                    published.is_kept = false;
                    stream.lost = stream.lost.max(published.at);
                }
            }
        }
    }

    /// A stream that nobody follows and that keeps nothing is no more.
    fn forget(&mut self) {
        for index in 0..STREAMS {
            let followed = self.followings.iter().any(|f| f.is_held && f.stream == index);
            let stream = &mut self.streams[index];
            if stream.exists && !followed && !stream.published.iter().any(|p| p.is_kept) {
                stream.exists = false;
                self.forgotten = self.forgotten.max(stream.lost);
            }
        }
    }

    fn take_replies(&mut self) {
        while let Some(Delivery { recipient, messages, .. }) =
            self.shard.commit(|_| ()).poll_reply()
        {
            for message in &messages {
                self.receive(recipient as usize, message);
            }
        }
    }

    fn fan_out(&mut self, slices: usize) {
        self.take_replies();
        for _ in 0..slices {
            let now = self.instant();
            let Some(FanOut { messages, recipients, .. }) =
                self.shard.commit(|_| ()).poll_fan_out(2, now)
            else {
                let mut held = self.followings.iter().filter(|following| following.is_held);
                assert!(held.all(|f| f.received == f.told.len()), "something was not told");
                return;
            };
            for (recipient, has) in recipients {
                for message in &messages[has..] {
                    self.receive(recipient as usize, message);
                }
            }
        }
    }

    fn receive(&mut self, number: usize, message: &ServerMessage) {
        let following = &mut self.followings[number];
        let expected = following.told.get(following.received).expect("nothing more");
        following.received += 1;
        match (message, expected) {
            (ServerMessage::Publication(told), Told::Publication { lifetime, offset, data }) => {
                let position = told.position.clone().expect("a position");
                assert_eq!((told.data.as_str(), position.offset.0), (data.as_str(), *offset));
                assert_eq!(told.stream, name(following.stream));
                let lifetime_of = (following.stream, *lifetime);
                let epoch = position.epoch.to_string();
                assert_eq!(*self.epochs.entry(lifetime_of).or_insert(epoch.clone()), epoch);
                self.last.insert((following.client, following.stream), (*lifetime, position));
            }
            (ServerMessage::Confirmed, Told::Confirmed)
            | (ServerMessage::HistoryConfirmed, Told::HistoryConfirmed)
            | (ServerMessage::HistoryRejected, Told::HistoryRejected) => {}
            (message, expected) => panic!("{number} is told {message:?} instead of {expected:?}"),
        }
    }
}

/// What a publication of this test weighs, and what a stream that keeps any.
fn weights() -> (usize, usize) {
    let history = HistorySettings { limit: 2, ttl: Duration::from_secs(1), max_bytes: usize::MAX };
    let mut shard = Shard::<u32>::new(with_history(history), Clock::new().now());
    let mut publish = || {
        let input = Input::Publish(Publish {
            data: "\"00000000\"".into(),
            labels: None,
            at: 0,
            except: None,
            is_transient: false,
        });
        shard.handle(&name(0), input, Clock::new().now());
        shard.totals().history_bytes
    };
    let (one, two) = (publish(), publish());
    (two - one, one - (two - one))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_misses_a_publication_without_being_told(
        limit in 1..6_usize,
        max in select(vec![3, 7, 100_usize]),
        steps in steps(),
    ) {
        let ttl = Duration::from_secs(3);
        let (publication, stream) = weights();
        let max_bytes = max * publication + STREAMS * stream;
        let mut world = World::new(HistorySettings { limit, ttl, max_bytes });
        for step in &steps {
            world.apply(step);
        }
        world.apply(&Step::FanOut(usize::MAX));
        let epochs: Vec<&String> = world.epochs.values().collect();
        for (number, epoch) in epochs.iter().enumerate() {
            prop_assert!(!epochs[..number].contains(epoch), "two lifetimes have one epoch");
        }
        for client in 0..CLIENTS {
            world.apply(&Step::End(client));
        }
        world.apply(&Step::Pass(10_000));
        world.apply(&Step::Expire);
        prop_assert_eq!(world.shard.totals(), Totals::default());
        prop_assert_eq!(world.shard.poll_timeout(), None);
    }
}

fn publication(data: RawJson) -> Input<u32> {
    Input::Publish(Publish { data, labels: None, at: 1, except: None, is_transient: false })
}

/// A publication that is too large to be kept takes its stream along, if it has no subscriber.
#[test]
fn a_stream_can_go_with_what_is_published() {
    let now = Clock::new().now();
    let history = HistorySettings { limit: 9, ttl: Duration::from_secs(9), max_bytes: 9000 };
    let mut shard = Shard::<u32>::new(with_history(history), now);
    let stream = StreamName::from("room");
    shard.handle(&stream, publication("1".into()), now);
    assert_eq!(shard.totals().publications, 1);
    shard.handle(&stream, publication(format!("\"{}\"", "x".repeat(9000)).into()), now);
    assert_eq!(shard.totals(), Totals::default());
}

#[test]
fn a_client_publishes_nothing_where_it_is_not_subscribed() {
    let now = Clock::new().now();
    let history = HistorySettings { limit: 9, ttl: Duration::from_secs(9), max_bytes: 9000 };
    let mut shard = Shard::<u32>::new(with_history(history), now);
    let stream = StreamName::from("room");
    shard.handle(&stream, publication("1".into()), now);
    let command = StreamCommand::Publish { data: "2".into(), at: 1, members_only: false };
    let (key, recipient) = (key(1_u32), 7);
    shard.handle(&stream, Input::Command { key, recipient, command, reference: None }, now);
    let reply = shard.commit(|_| ()).poll_reply().expect("a reply");
    assert_eq!((reply.recipient, reply.messages), (7, vec![ServerMessage::NotSubscribed]));
    assert_eq!(shard.totals().publications, 1);
}
