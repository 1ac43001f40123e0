//! What things weigh that there are many of, counted by an allocator that counts.

mod nowhere;
pub(crate) mod settings;

use std::time::Instant;

use allocation_counter::{AllocationInfo, measure};
use broker::clock::Clock;
use broker::config::defaults;
use broker::node::Sessions;
use broker::outbound::Outbox;
use broker::protocol::action_cable;
use broker::session::Session;
use broker::shard::{End, Input, Outcome, Put, Shard, SubscriberKey, Ticket};
use broker::types::{
    Grant, GroupKey, Identifier, Identity, Join, RawJson, SessionId, StreamCommand, StreamName,
    Subscribe, SubscribeOptions, Watch,
};

use nowhere::Nowhere;
use settings::settings;

/// What one of something takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    /// Bytes asked for.
    pub(crate) bytes: f64,
    /// In how many allocations; each costs the allocator some bytes more.
    pub(crate) allocations: f64,
}

/// A shard, and how many things are put into how many of its streams.
pub(crate) struct Scale {
    /// How many streams there are.
    pub(crate) streams: u32,
    /// How many things are in each of them.
    pub(crate) each: u32,
}

/// What others see of a member here; what it takes isn't counted.
const INFO: &str = r#"{"name":"Ann"}"#;

impl Scale {
    /// A stream with one record in it, without its name.
    pub(crate) fn stream(&self) -> Weight {
        let (mut world, streams) = (World::new(), self.names());
        let one_each = Self { streams: self.streams, each: 1 };
        one_each.weigh(&streams, |stream, number| world.put(stream, number))
    }

    /// A record that the application has put, beside its info, with the member it belongs to.
    pub(crate) fn record(&self) -> Weight {
        let (mut world, streams) = self.world_of_streams();
        self.weigh(&streams, |stream, number| world.put(stream, number + 1))
    }

    /// A subscription of the base protocol.
    pub(crate) fn subscription(&self) -> Weight {
        let (mut world, streams) = self.world_of_streams();
        self.weigh(&streams, |stream, number| world.subscribe(stream, number, false))
    }

    /// The record of a subscription, beside its info and the subscription itself.
    pub(crate) fn joined(&self) -> Weight {
        let (mut world, streams) = self.world_of_streams();
        self.each(&streams, |stream, number| world.subscribe(stream, number, false));
        self.weigh(&streams, |stream, number| world.join(stream, number))
    }

    /// What a subscription with a record takes more (or less) when its connection has ended.
    pub(crate) fn parked(&self) -> Weight {
        let (mut world, streams) = self.world_of_streams();
        self.each(&streams, |stream, number| world.subscribe(stream, number, true));
        self.weigh(&streams, |stream, number| world.end(stream, number))
    }

    fn names(&self) -> Vec<StreamName> {
        (0..self.streams).map(|number| format!("room-{number}").into()).collect()
    }

    /// Streams that are there already, so that what comes into them is weighed alone.
    fn world_of_streams(&self) -> (World, Vec<StreamName>) {
        let (mut world, streams) = (World::new(), self.names());
        for stream in &streams {
            world.put(stream, 0);
        }
        (world, streams)
    }

    /// Does something in turn in each of the streams: what grows together lies together.
    fn each(&self, streams: &[StreamName], mut act: impl FnMut(&StreamName, u32)) {
        for number in 0..self.each {
            for stream in streams {
                act(stream, number);
            }
        }
    }

    /// The same, weighed.
    fn weigh(&self, streams: &[StreamName], act: impl FnMut(&StreamName, u32)) -> Weight {
        let among = f64::from(self.streams) * f64::from(self.each);
        share(measure(|| self.each(streams, act)), among)
    }
}

/// An outbox, without its socket.
pub(crate) fn outbox(count: u32) -> Weight {
    let mut all = Vec::with_capacity(count as usize);
    let make = |_| Outbox::new(Box::new(Nowhere(|| ())), action_cable::CODEC, 1 << 20);
    share(measure(|| all.extend((0..count).map(make))), f64::from(count))
}

/// A session of one subscription whose connection has ended.
pub(crate) fn parked_session(count: u32) -> Weight {
    let now = Clock::new().now();
    let sessions = Sessions::new(defaults::SESSIONS_TTL, metrics::Gauge::noop());
    let (identifier, stream) = (Identifier::from(r#""room""#), StreamName::from("room"));
    let park = |number: u32| {
        let sid = SessionId::from_bits(number.into());
        let mut session = Session::restored(sid, Identity::ANYONE);
        let rights = Grant::OPEN.rights;
        session.restore(identifier.clone(), stream.clone(), Watch::Members, rights);
        sessions.restore([session], now);
    };
    share(measure(|| (0..count).for_each(park)), f64::from(count))
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 bytes")]
fn share(counted: AllocationInfo, among: f64) -> Weight {
    Weight {
        bytes: counted.bytes_current as f64 / among,
        allocations: counted.count_current as f64 / among,
    }
}

/// A shard and what it is asked.
struct World {
    shard: Shard<u32>,
    group: GroupKey,
    now: Instant,
    info: RawJson,
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        let group = GroupKey::new(action_cable::CODEC, Identifier::from(r#""room""#));
        Self { shard: Shard::new(settings(), now), group, now, info: INFO.into() }
    }

    fn put(&mut self, stream: &StreamName, number: u32) {
        let put = Put { join: self.join_of(number), ttl: None };
        self.shard.handle(stream, Input::Put { put, ticket: Ticket(0) }, self.now);
        let placed = self.shard.commit(|_| ()).poll_outcome();
        assert!(matches!(placed, Some((_, Outcome::Put(Ok(_))))), "there is room: {placed:?}");
        self.settle();
    }

    fn subscribe(&mut self, stream: &StreamName, number: u32, joins: bool) {
        let join = joins.then(|| Ok(self.join_of(number + 1)));
        let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
        self.command(
            stream,
            number,
            StreamCommand::from(Subscribe { join, history: None, grant, options }),
        );
    }

    fn join(&mut self, stream: &StreamName, number: u32) {
        let join = self.join_of(number + 1);
        self.command(stream, number, StreamCommand::Join(join));
    }

    fn end(&mut self, stream: &StreamName, number: u32) {
        let end = End { grant: Some(Grant::OPEN), ..End::at(self.now) };
        self.shard.handle(stream, Input::Ended { key: self.key(number), end }, self.now);
        self.settle();
    }

    /// A member whose info is everyone's, so that it doesn't count.
    fn join_of(&self, number: u32) -> Join {
        Join { id: format!("member-{number}").into(), info: self.info.clone(), extra: None }
    }

    fn key(&self, number: u32) -> SubscriberKey {
        SubscriberKey { session: SessionId::from_bits(number.into()), group: self.group.clone() }
    }

    fn command(&mut self, stream: &StreamName, number: u32, command: StreamCommand) {
        let key = self.key(number);
        let input = Input::Command { key, recipient: number, command, reference: None };
        self.shard.handle(stream, input, self.now);
        self.settle();
    }

    /// Tells everyone everything, so that nothing waits that is no part of what is weighed.
    fn settle(&mut self) {
        while self.shard.commit(|_| ()).poll_reply().is_some() {}
        while self.shard.commit(|_| ()).poll_fan_out(usize::MAX, self.now).is_some() {}
        drop(self.shard.take_counts());
    }
}
